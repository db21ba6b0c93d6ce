package http2

import (
	"testing"
	"unsafe"
)

// TestConnectionIsSmall: there are many thousands that are idle. What is larger than this
// takes 1,280 bytes of memory; what few connections need is made when they need it.
func TestConnectionIsSmall(t *testing.T) {
	const most = 1152
	if size := unsafe.Sizeof(conn{}); size > most {
		t.Errorf("a connection takes %d bytes, at most %d are meant", size, most)
	}
}
