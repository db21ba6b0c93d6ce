package wire

import "sync"

// Buffer sizes in bytes. A small one holds nearly every head and small body; a
// large one holds the largest head and is what bodies are copied through.
const (
	SmallBuffer = 8 << 10
	LargeBuffer = 64 << 10
)

// The pools hold pointers to arrays, so that neither Get nor Put allocates.
var (
	smallBuffers = sync.Pool{New: func() any { return new([SmallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([LargeBuffer]byte) }}
)

// GetSmall and GetLarge take a buffer from its pool; Put gives back one that
// was taken, whatever its size. A nil or foreign slice is left alone.
func GetSmall() []byte { return smallBuffers.Get().(*[SmallBuffer]byte)[:] }

// GetLarge takes a buffer of LargeBuffer bytes.
func GetLarge() []byte { return largeBuffers.Get().(*[LargeBuffer]byte)[:] }

// Put gives a buffer back. It must not be used afterwards.
func Put(b []byte) {
	switch cap(b) {
	case SmallBuffer:
		smallBuffers.Put((*[SmallBuffer]byte)(b[:SmallBuffer]))
	case LargeBuffer:
		largeBuffers.Put((*[LargeBuffer]byte)(b[:LargeBuffer]))
	}
}
