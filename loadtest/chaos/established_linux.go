package chaos

import "syscall"

// established reports whether the other side has not closed the connection,
// whatever has not been read of it yet.
func (c *originConn) established() bool {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return false
	}
	// The state is the first byte of struct tcp_info, of which the kernel
	// gives as many bytes as are asked for.
	const established = 1
	var info [4]byte
	failed := raw.Control(func(fd uintptr) {
		info, err = syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	})
	return failed == nil && err == nil && info[0] == established
}
