package wire

import "strconv"

// LastChunk ends a chunked body without trailers.
const LastChunk = "0\r\n\r\n"

// AppendField appends one field line.
func AppendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendFields appends the lines of all fields that are not Dropped, in their order and
// case.
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
