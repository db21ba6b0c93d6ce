package pace

import "golang.org/x/sys/unix"

// yieldProcessor lets other threads that wait for this thread's processor run first: of serai's own, or of
// instances and clients on the same machine. It returns at once where none waits (sched_yield(2)). Without it they
// wait until the kernel thinks that this one has had enough, which are some milliseconds.
func yieldProcessor() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
