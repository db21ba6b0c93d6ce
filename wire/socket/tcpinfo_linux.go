package socket

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quiet reports whether nothing is waiting to be read on the socket, not even a FIN.
// With TLS it checks the socket below: a late session ticket makes a connection look
// used, which costs a handshake but is not wrong.
func (c *Conn) quiet() bool {
	raw := c.rawConn()
	if raw == nil {
		return false
	}
	quiet := false
	err := raw.Control(func(fd uintptr) { quiet = silent(fd) })
	return err == nil && quiet
}

// TCP states, from <netinet/tcp.h>; unix has no names for them.
const (
	tcpEstablished = 1
	tcpClose       = 7
)

// PeerGone reports whether the peer has closed the connection, or only its sending
// side, which looks the same until something is sent. It does not read, and may be
// called while another goroutine uses c.
func (c *Conn) PeerGone() bool {
	info, ok := c.tcpInfo()
	return ok && info.State != tcpEstablished
}

// Dead reports whether the peer has reset the connection, so that nothing can be sent
// any more. It may be called while another goroutine uses c.
func (c *Conn) Dead() bool {
	info, ok := c.tcpInfo()
	return ok && info.State == tcpClose
}

// Lost reports whether the network path to the peer seems to be cut: what was written
// was retransmitted several times without an acknowledgement, or a peer that accepts no
// more does not answer when the kernel asks it whether it does. It may be called while
// another goroutine uses c.
func (c *Conn) Lost() bool {
	// With the shortest timeout, 200 ms that double, after 1.4 s of silence.
	const again = 3
	info, ok := c.tcpInfo()
	return ok && (info.Unacked > 0 && info.Retransmits >= again || info.Probes >= again)
}

func (c *Conn) tcpInfo() (info unix.TCPInfo, ok bool) {
	raw := c.rawConn()
	if raw == nil {
		return info, false
	}
	err := raw.Control(func(fd uintptr) {
		if got, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info, ok = *got, true
		}
	})
	return info, ok && err == nil
}

// GiveUpAfter closes a socket, and the sockets that it accepts as a listener, when for
// this long data is not acknowledged, or the peer accepts no more (TCP_USER_TIMEOUT,
// tcp(7)). Without it the kernel retransmits for a quarter of an hour to a peer whose
// network is gone.
func GiveUpAfter(c syscall.RawConn, d time.Duration) error {
	return SetOptions(c, Option{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())})
}

// ProbeSilent makes a socket, and the sockets that it accepts as a listener, probe a
// peer that has been silent for 15 seconds every 15 seconds, and close after 9 probes
// without an answer (tcp(7)). The net package does the same for every connection, with
// four system calls; on the listener one time is enough.
func ProbeSilent(c syscall.RawConn) error {
	return SetOptions(c, Option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		Option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		Option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		Option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9})
}

// unsent is how many bytes a socket keeps that it cannot send yet: a large buffer, beside the
// peer's window.
const unsent = 64 << 10

// BoundUnsent makes a socket, and the sockets that it accepts as a listener, take no more
// while that many bytes wait for the peer's window (TCP_NOTSENT_LOWAT, tcp(7)), until a Conn
// finds that the peer reads fast. Otherwise the kernel takes up to 4 MiB for each peer that
// reads slowly: memory that nobody counts, and work that is done at once for somebody who needs
// it in minutes.
func BoundUnsent(c syscall.RawConn) error {
	return SetOptions(c, Option{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent})
}

// freeUnsent ends BoundUnsent for a socket.
func freeUnsent(c syscall.RawConn) error {
	return SetOptions(c, Option{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 0})
}
