package wire

import (
	"slices"
	"strconv"
)

// LastChunk ends a chunked body that has no trailers.
const LastChunk = "0\r\n\r\n"

// AppendField appends one field line.
func AppendField(dst, name, value []byte) []byte {
	// Every field of every head comes by here: the room is made once.
	at := len(dst)
	dst = slices.Grow(dst, len(name)+len(value)+4)[:at+len(name)+len(value)+4]
	line := dst[at:]
	line = line[copy(line, name):]
	line[0], line[1] = ':', ' '
	line = line[2:]
	line = line[copy(line, value):]
	line[0], line[1] = '\r', '\n'
	return dst
}

// AppendFields appends the lines of all fields that are not Dropped, in order
// and case as they came.
func AppendFields(dst []byte, fields []Field) []byte {
	for i := range fields {
		if fields[i].Kind != Dropped {
			dst = AppendField(dst, fields[i].Name, fields[i].Value)
		}
	}
	return dst
}

// AppendChunk appends data as one chunk. Empty data appends nothing, since an
// empty chunk would end the body.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkLine(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendChunkLine appends the size line of a chunk of n bytes.
func AppendChunkLine(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body with its trailers.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	dst = AppendFields(dst, trailers)
	return append(dst, "\r\n"...)
}
