package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"serai/internal/netns"
	"serai/internal/nomadagent"
)

// nomadAgent is a process.
type nomadAgent struct {
	name, binary, config, log string
	space                     *netns.Space // nil for this machine's own network
	ip                        string
	http, rpc, serf           string // host:port
	cmd                       *exec.Cmd
	left                      nomadagent.Processes // of agents that have ended
}

// configure writes the agent's configuration: what all have, and its role.
func (a *nomadAgent) configure(dir, role string) error {
	common := nomadagent.Config{
		Name: a.name, DataDir: filepath.Join(dir, a.name), IP: a.ip,
		HTTP: portOf(a.http), RPC: portOf(a.rpc), Serf: portOf(a.serf), ACL: true,
	}
	return os.WriteFile(a.config, []byte(common.HCL()+role), 0o600)
}

func (a *nomadAgent) start() error {
	log, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := []string{a.binary, "agent", "-config=" + a.config}
	if a.space != nil {
		command = a.space.Command(command...)
	}
	a.cmd = exec.Command(command[0], command[1:]...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	// Our own interrupt is not theirs.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return a.cmd.Start()
}

func (a *nomadAgent) kill() { a.endWith(os.Kill) }
func (a *nomadAgent) stop() { a.endWith(os.Interrupt) }

func (a *nomadAgent) endWith(signal os.Signal) {
	if a.cmd == nil || a.cmd.Process == nil {
		return
	}
	a.left.Note(a.cmd.Process.Pid)
	a.cmd.Process.Signal(signal)
	slow := time.AfterFunc(20*time.Second, func() { a.cmd.Process.Kill() })
	a.cmd.Wait()
	slow.Stop()
	a.cmd = nil
}
