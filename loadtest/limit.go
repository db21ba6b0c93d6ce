package main

import "syscall"

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
