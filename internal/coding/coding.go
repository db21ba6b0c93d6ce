package coding

import (
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Coding is a content coding, as Accept-Encoding and Content-Encoding name it.
type Coding uint8

// The codings.
const (
	Zstd   Coding = iota // RFC 8878
	Brotli               // RFC 7932
	Gzip                 // RFC 1952
	codings
)

var names = [codings]string{"zstd", "br", "gzip"}

// String returns its name in HTTP.
func (c Coding) String() string { return names[c] }

// Codings are all of them.
func Codings() []Coding { return []Coding{Zstd, Brotli, Gzip} }

// writer is what a library has for a coding. After Flush, all that was written can be
// decoded from what has come out.
type writer interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// kind is a way to make a coding.
type kind uint8

const (
	zstdKind kind = iota
	brotliKind
	gzipKind
	lightGzip // without memory of what came before
	kinds
)

var kindWords = [kinds]string{"zstd", "br", "gzip", "gzip-light"}

// costs are the bytes that an Encoder of a kind takes, with its buffers, as
// TestMemoryOfEncoders measures them.
var costs = [kinds]int64{zstdKind: 832 << 10, brotliKind: 768 << 10, gzipKind: 856 << 10, lightGzip: 40 << 10}

// The windows and levels are those that cost little of both memory and time: of 64 KiB
// of JSON, 0.25 ms with zstd and gzip, and 0.9 ms with brotli, for which they leave 24, 26 and 23
// percent (BenchmarkEncoders). The next higher levels take two to three times the memory
// for one or two percent less. This level of zstd codes no literals where nothing repeats,
// as in lists of numbers, unless it is told to. Clients must be able to decode windows of 8 MiB (RFC 9659).
const (
	zstdWindow   = 128 << 10
	zstdLevel    = zstd.SpeedFastest
	brotliWindow = 15 // 32 KiB
	brotliLevel  = 3
	gzipLevel    = gzip.BestSpeed
)

// newWriter makes what codes in a kind, and writes to out.
func newWriter(k kind, out io.Writer) (writer, error) {
	switch k {
	case zstdKind:
		return zstd.NewWriter(out, zstd.WithEncoderLevel(zstdLevel), zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false),
			zstd.WithAllLitEntropyCompression(true))
	case brotliKind:
		return brotli.NewWriterOptions(out, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow}), nil
	case lightGzip:
		return newLight(out), nil
	}
	return gzip.NewWriterLevel(out, gzipLevel)
}
