package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// program returns the path of a program of the system; without it the test is skipped.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("not run: there is no %s in PATH", name)
	return ""
}

// goProgram returns the path of a program that is in PATH, or that testdata/programs/go.mod
// names: then it is built, once for all tests. Without a network for that the test is
// skipped.
func goProgram(t *testing.T, name string) string {
	t.Helper()
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	build := exec.CommandContext(t.Context(), "go", "tool", "-n", name)
	build.Dir = "testdata/programs"
	var why bytes.Buffer
	build.Stderr = &why
	path, err := build.Output()
	if err != nil {
		t.Skipf("not run: there is no %s in PATH, and it cannot be built: %v, %s", name, err, lastLine(why.Bytes()))
	}
	return string(bytes.TrimSpace(path))
}

// TestProgramsHaveOurToolchain: with another one, what was built before the tests would be built
// again by them.
func TestProgramsHaveOurToolchain(t *testing.T) {
	line := regexp.MustCompile(`(?m)^toolchain .*$`)
	var toolchains []string
	for _, file := range []string{"../../go.mod", "testdata/programs/go.mod"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		toolchains = append(toolchains, line.FindString(string(text)))
	}
	if toolchains[0] == "" || toolchains[0] != toolchains[1] {
		t.Errorf("serai has %q, the programs %q", toolchains[0], toolchains[1])
	}
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}

// ran is what a program has printed, and with what status it has ended.
type ran struct {
	out, err string
	status   int
}

// runProgram runs a program to its end.
func runProgram(t *testing.T, input, path string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*long) // it does many things, one after the other
	defer cancel()
	run := exec.CommandContext(ctx, path, args...)
	run.WaitDelay = time.Second
	var out, why bytes.Buffer
	run.Stdin, run.Stdout, run.Stderr = bytes.NewReader([]byte(input)), &out, &why
	err := run.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %q does not end; it has printed %.2000q and %.2000q", path, args, out.String(), why.String())
	}
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return ran{out.String(), why.String(), run.ProcessState.ExitCode()}
}

// daemon runs a program until the test ends, and tells what it has said if that fails.
func daemon(t *testing.T, ready func() bool, path string, args ...string) {
	t.Helper()
	run := exec.Command(path, args...)
	var said buffer
	run.Stdout, run.Stderr = &said, &said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); run.Wait() }()
	t.Cleanup(func() {
		run.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%.4000s", path, said.String())
		}
	})
	until(t, path, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s has ended: %.4000s", path, said.String())
		default:
		}
		return ready()
	})
}
