package chaos

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"time"
)

// write writes in pieces, up to the byte at which the client leaves, and
// reports whether all was written. A piece of 0 writes all at once.
func (v *visit) write(ctx context.Context, p []byte, piece int) bool {
	before, late := time.Now(), time.Duration(0)
	for len(p) > 0 {
		n := len(p)
		if piece > 0 {
			n = min(n, piece)
		}
		rest := v.Abort - int(v.wrote.Load())
		if v.Abort >= 0 {
			n = min(n, max(0, rest))
		}
		if n == len(p) {
			v.lastByte = time.Now()
		}
		m, err := v.conn.Write(p[:n])
		late = max(0, late+time.Since(before)-earned(m))
		before, v.late = time.Now(), max(v.late, late)
		v.wrote.Add(int64(m))
		if v.Abort >= 0 && int(v.wrote.Load()) >= v.Abort {
			v.left.Store(true)
			if v.Reset {
				v.tcp.SetLinger(0)
			}
			v.tcp.Close()
			return false
		}
		if err != nil {
			return false
		}
		if p = p[n:]; len(p) > 0 && piece > 0 && !wait(ctx, v.Pause) {
			return false
		}
	}
	return true
}

// behind does what follows the last request.
func (v *visit) behind(ctx context.Context) {
	if v.Extra != "" && wait(ctx, v.ExtraAfter) {
		io.WriteString(v.conn, v.Extra)
	}
	if v.HalfClose {
		v.halfClosed = time.Now()
		v.closeWrite()
	}
}

// keep remembers the cookie of an answer.
func (v *visit) keep(o *outcome) {
	if !v.Keeps || o.headFields == nil {
		return
	}
	if pair, _, _ := strings.Cut(o.headFields.get("Set-Cookie"), ";"); pair != "" {
		v.cookie = pair
	}
}

func (v *visit) closeWrite() {
	if t, ok := v.conn.(*tls.Conn); ok {
		t.CloseWrite()
		return
	}
	v.tcp.CloseWrite()
}
