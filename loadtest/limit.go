package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// raiseLimit lets this process and its children have as many descriptors as
// they may, and returns how many.
func raiseLimit() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	const plenty = 100_000
	if l.Max < plenty { // root may have more
		if more := (syscall.Rlimit{Cur: plenty, Max: plenty}); syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
			return plenty
		}
	}
	l.Cur = l.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur
}

// withMemory returns what runs a program in a control group of its own with so
// many MiB of memory, and what removes that group. Where this process may not
// make one there is none, and the program is only told of the limit.
func withMemory(binary string, megabytes int) (limited string, remove func(), err error) {
	group, limitFile := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("loadtest-%d", os.Getpid())), "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limitFile = filepath.Join("/sys/fs/cgroup", fmt.Sprintf("loadtest-%d", os.Getpid())), "memory.max"
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		fmt.Println("  no control group can be made: the memory is only told", err)
		return binary, func() {}, nil
	}
	drop := func() { os.Remove(group) }
	if err := os.WriteFile(filepath.Join(group, limitFile), fmt.Appendf(nil, "%d", megabytes<<20), 0o644); err != nil {
		drop()
		return "", nil, fmt.Errorf("limit the memory of a control group: %w", err)
	}
	script, err := os.CreateTemp("", "loadtest*.sh")
	if err != nil {
		drop()
		return "", nil, err
	}
	fmt.Fprintf(script, "#!/bin/sh\necho $$ >%s/cgroup.procs && exec %s \"$@\"\n", group, binary)
	return script.Name(), func() { drop(); os.Remove(script.Name()) }, errors.Join(script.Chmod(0o700), script.Close())
}
