package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// niced makes a command use only the CPU time that others leave: attackers are other
// machines in reality, and their work must not delay clients.
func niced(cmd *exec.Cmd) *exec.Cmd {
	if nice, err := exec.LookPath("nice"); err == nil {
		cmd.Args, cmd.Path = append([]string{nice, "-n", "19"}, cmd.Args...), nice
	}
	return cmd
}

// startHelper runs a command of this program on the other core until stop is
// called, and returns when it has printed a line.
func startHelper(ctx context.Context, command ...string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := niced(pinned(ctx, otherCore, self, command...))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	line := ""
	if _, err := fmt.Fscan(out, &line); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("run %s", command[0]), err)
	}
	return stop, nil
}
