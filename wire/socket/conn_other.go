//go:build !linux

package socket

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sysConn does nothing on systems for which serai is not tuned: net.Conn is used.
type sysConn struct{}

func (s *sysConn) init(*Conn, syscall.Conn)        {}
func (s *sysConn) reusable() sysConn               { return sysConn{} }
func (s *sysConn) triesFirst() bool                { return false }
func (s *sysConn) ok() bool                        { return false }
func (s *sysConn) rawConn() syscall.RawConn        { return nil }
func (s *sysConn) read([]byte) (int, error)        { panic("unreachable") }
func (s *sysConn) write([]byte, bool) (int, error) { panic("unreachable") }
func (s *sysConn) writeFirst([]byte) (int, error)  { panic("unreachable") }
func (s *sysConn) writeNow([]byte) (int, error)    { panic("unreachable") }
func (s *sysConn) serve() error                    { panic("unreachable") }
func (s *sysConn) readReady([]byte) int            { panic("unreachable") }
func (s *sysConn) await() error                    { panic("unreachable") }
func (s *sysConn) rest() (head, body []byte)       { panic("unreachable") }
func (s *sysConn) request(head, body []byte, idle bool) ([]byte, int, bool, error) {
	panic("unreachable")
}
func (c *Conn) quiet() bool { return false }

// PeerGone is not supported here.
func (c *Conn) PeerGone() bool { return false }

// Dead is not supported here.
func (c *Conn) Dead() bool { return false }

// Lost is not supported here.
func (c *Conn) Lost() bool { return false }

// GiveUpAfter leaves it to the system here.
func GiveUpAfter(syscall.RawConn, time.Duration) error { return nil }

// ProbeSilent makes a socket, and those that it accepts as a listener, probe a
// silent peer as often as the system does.
func ProbeSilent(c syscall.RawConn) error {
	return SetOptions(c, Option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1})
}

// BoundUnsent leaves it to the system here.
func BoundUnsent(syscall.RawConn) error { return nil }

func freeUnsent(syscall.RawConn) error { return nil }
