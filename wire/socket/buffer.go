package socket

import (
	"sync"

	"serai/internal/quota"
)

// Buffer sizes in bytes. A tiny one has room for most requests without a body, of which
// thousands may be waiting for their answers; a small one for nearly every head and
// small body; a large one for the largest head, and bodies are copied through it; a whole
// one for a head and a body that fits into a large one, which are read at once; a huge one
// saves a fifth of the cost of a body of many megabytes.
const (
	TinyBuffer  = 2 << 10
	SmallBuffer = 8 << 10
	LargeBuffer = 64 << 10
	WholeBuffer = LargeBuffer + SmallBuffer
	HugeBuffer  = 256 << 10
)

// A body is worth a Pipe from this size on, and a huge buffer when its reader says so,
// while fewer than hugeAtOnce are in use: a thousand slow readers of large files must
// not use more memory than necessary.
const (
	pipeFrom   = 1 << 20
	hugeAtOnce = 64
)

// huge counts the huge buffers of open connections, and the Pipes.
var huge quota.Quota

// takeHuge reports whether one more connection may have a huge buffer, and counts it.
func takeHuge() bool { return huge.Take(1, hugeAtOnce) }

func returnHuge() { huge.Give(1) }

// The pools hold pointers to arrays, so that neither Get nor Put allocates.
var (
	tinyBuffers  = sync.Pool{New: func() any { return new([TinyBuffer]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([SmallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([LargeBuffer]byte) }}
	wholeBuffers = sync.Pool{New: func() any { return new([WholeBuffer]byte) }}
	hugeBuffers  = sync.Pool{New: func() any { return new([HugeBuffer]byte) }}
)

// getTiny, GetSmall and GetLarge take a buffer from its pool; Put returns one of any
// size. Put ignores a nil or foreign slice.
func getTiny() []byte { return tinyBuffers.Get().(*[TinyBuffer]byte)[:] }

// GetSmall takes a buffer of SmallBuffer bytes.
func GetSmall() []byte { return smallBuffers.Get().(*[SmallBuffer]byte)[:] }

// GetLarge takes a buffer of LargeBuffer bytes.
func GetLarge() []byte { return largeBuffers.Get().(*[LargeBuffer]byte)[:] }

// getWhole takes a buffer of WholeBuffer bytes.
func getWhole() []byte { return wholeBuffers.Get().(*[WholeBuffer]byte)[:] }

// getHuge takes a buffer of HugeBuffer bytes. It is counted by takeHuge.
func getHuge() []byte { return hugeBuffers.Get().(*[HugeBuffer]byte)[:] }

// Put returns a buffer to its pool. It must not be used afterwards.
func Put(b []byte) {
	switch cap(b) {
	case TinyBuffer:
		tinyBuffers.Put((*[TinyBuffer]byte)(b[:TinyBuffer]))
	case SmallBuffer:
		smallBuffers.Put((*[SmallBuffer]byte)(b[:SmallBuffer]))
	case LargeBuffer:
		largeBuffers.Put((*[LargeBuffer]byte)(b[:LargeBuffer]))
	case WholeBuffer:
		wholeBuffers.Put((*[WholeBuffer]byte)(b[:WholeBuffer]))
	case HugeBuffer:
		hugeBuffers.Put((*[HugeBuffer]byte)(b[:HugeBuffer]))
	}
}
