//go:build !linux

package socket

import "serai/wire"

// Pipe is not supported without splice.
type Pipe struct{}

// NewPipe returns nil here.
func NewPipe(int64) *Pipe { return nil }

// Close does nothing here.
func (p *Pipe) Close() {}

// Pull leaves the bytes to the body here.
func (p *Pipe) Pull(*wire.Body, *Conn) (int, error) { return 0, nil }

// Drain is never called here.
func (p *Pipe) Drain(*Conn) error { panic("unreachable") }
