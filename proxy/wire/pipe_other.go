//go:build !linux

package wire

// Pipe moves nothing where the kernel has no splice.
type Pipe struct{}

// NewPipe returns nil here.
func NewPipe(int64) *Pipe { return nil }

// Close does nothing here.
func (p *Pipe) Close() {}

// Drain is never called here.
func (p *Pipe) Drain(*Conn) error { panic("unreachable") }

func (p *Pipe) fit() bool { return false }

func (p *Pipe) fill(*Conn, int64) (int, error) { panic("unreachable") }
