//go:build !linux

package socket

import "serai/wire"

// Pipe moves nothing where the kernel has no splice.
type Pipe struct{}

// NewPipe returns nil here.
func NewPipe(int64) *Pipe { return nil }

// Close does nothing here.
func (p *Pipe) Close() {}

// Pull leaves it to the body here.
func (p *Pipe) Pull(*wire.Body, *Conn) (int, error) { return 0, nil }

// Drain is never called here.
func (p *Pipe) Drain(*Conn) error { panic("unreachable") }
