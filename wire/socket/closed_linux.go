package socket

import "time"

// ClosedFor returns how long ago the peer closed the connection with a FIN, as the
// kernel knows; ok is false when it has not, or when a reset hides it. It reads
// nothing.
func (c *Conn) ClosedFor() (d time.Duration, ok bool) {
	info, ok := c.tcpInfo()
	// From <netinet/tcp.h>: the peer's FIN has come, and ours has not been sent. The
	// FIN was the last segment with an acknowledgement.
	const closeWait = 8
	if !ok || info.State != closeWait {
		return 0, false
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond, true
}
