package http2

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// huffmanCode is the code of RFC 7541 appendix B, which is canonical: the codes of one
// length are consecutive numbers, and follow the shorter ones.
type huffmanCode struct {
	// short has the symbol that begins with these eight bits, and the length of its code;
	// 0 for longer ones. All letters, digits and usual signs are short.
	short [256]struct{ symbol, length byte }
	// beyond has, for each length, the first 32 bits that no code of at most that length
	// begins.
	beyond [longestCode + 1]uint32
	// offset has, for each length, what is added to a code to get its index in symbols.
	offset  [longestCode + 1]int
	symbols [256]byte // in the order of their codes
}

// Lengths of codes, in bits.
const (
	shortCode   = 8
	longestCode = 30
)

// huffman never changes.
var huffman = func() (t huffmanCode) {
	var codes [256]uint32 // followed by zeros
	var lengths [256]int
	for i := range codes {
		// The library has the code, but does not export it: eight times the same symbol have
		// as many bytes as its code has bits.
		coded := hpack.AppendHuffmanString(nil, string(bytes.Repeat([]byte{byte(i)}, 8)))
		lengths[i], t.symbols[i] = len(coded), byte(i)
		codes[i] = binary.BigEndian.Uint32(coded) >> (32 - len(coded)) << (32 - len(coded))
	}
	slices.SortFunc(t.symbols[:], func(a, b byte) int { return int(int64(codes[a]) - int64(codes[b])) })
	for i, symbol := range t.symbols {
		code, length := codes[symbol], lengths[symbol]
		if i == 0 || length > lengths[t.symbols[i-1]] {
			t.offset[length] = i - int(code>>(32-length))
		}
		next := code + 1<<(32-length)
		for l := length; l <= longestCode; l++ {
			t.beyond[l] = next
		}
		for at := code >> (32 - shortCode); length <= shortCode && at < next>>(32-shortCode); at++ {
			t.short[at].symbol, t.short[at].length = symbol, byte(length)
		}
	}
	return t
}()

// appendHuffman appends the string that coded stands for. It returns false if coded has
// the code for the end of a string, or does not end with the first bits of it, at most
// seven (RFC 7541 section 5.2).
func appendHuffman(dst, coded []byte) ([]byte, bool) {
	var bits uint64 // the next ones, from the highest on, followed by zeros
	left := 0       // number of these bits
	for _, b := range coded {
		bits |= uint64(b) << ((64 - 8 - left) & 63)
		for left += 8; left >= shortCode; {
			e := &huffman.short[bits>>(64-shortCode)]
			symbol, length := e.symbol, int(e.length)
			if length == 0 {
				if left < longestCode {
					break // first the next byte
				}
				if symbol, length = huffman.long(bits); length == 0 {
					return dst, false
				}
			}
			dst = append(dst, symbol)
			bits, left = bits<<(length&63), left-length
		}
	}
	for left > 0 {
		e := &huffman.short[bits>>(64-shortCode)]
		symbol, length := e.symbol, int(e.length)
		if length == 0 {
			symbol, length = huffman.long(bits)
		}
		if length == 0 || length > left {
			break
		}
		dst = append(dst, symbol)
		bits, left = bits<<length, left-length
	}
	return dst, left < 8 && bits == ^uint64(0)<<(64-left)
}

// long returns the symbol whose code of more than shortCode bits the bits begin with, and
// the length of that code, 0 for the end of a string.
func (t *huffmanCode) long(bits uint64) (symbol byte, length int) {
	word := uint32(bits >> 32)
	for l := shortCode + 1; l <= longestCode; l++ {
		if word < t.beyond[l] {
			return t.symbols[t.offset[l]+int(word>>(32-l))], l
		}
	}
	return 0, 0
}
