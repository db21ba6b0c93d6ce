package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// head is a request's or an answer's head as it came.
type head struct {
	first  string // without CRLF
	fields [][2]string
}

// get returns a field's values, joined by commas.
func (h *head) get(name string) string {
	var all []string
	for _, f := range h.fields {
		if strings.EqualFold(f[0], name) {
			all = append(all, f[1])
		}
	}
	return strings.Join(all, ",")
}

func (h *head) has(name, token string) bool {
	for t := range strings.SplitSeq(h.get(name), ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}

// errMalformed is wrapped by errors of messages that nobody may send.
var errMalformed = errors.New("malformed")

// readLine reads up to CRLF. Its error is io.EOF only if nothing came.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if len(line) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return line, err
	}
	if !strings.HasSuffix(line, "\r\n") {
		return line, fmt.Errorf("%w: line %q ends in a bare LF", errMalformed, line)
	}
	return line[:len(line)-2], nil
}

// readHead reads a head. Its error is io.EOF only if nothing came.
func readHead(r *bufio.Reader) (h head, err error) {
	if h.first, err = readLine(r); err != nil {
		return h, err
	}
	h.fields, err = readFields(r)
	return h, err
}

// readFields reads fields and the empty line after them.
func readFields(r *bufio.Reader) (fields [][2]string, err error) {
	for {
		line, err := readLine(r)
		switch {
		case err == io.EOF:
			return fields, io.ErrUnexpectedEOF
		case err != nil:
			return fields, err
		case line == "":
			return fields, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return fields, fmt.Errorf("%w: field %q", errMalformed, line)
		}
		fields = append(fields, [2]string{name, strings.TrimSpace(value)})
	}
}

// framing tells how the body behind h ends. Without a Content-Length a
// request has none and an answer lasts until the end.
func (h *head) framing(without Framing) (Framing, int64, error) {
	te, cl := h.get("Transfer-Encoding"), h.get("Content-Length")
	switch {
	case te != "" && cl != "":
		return "", 0, fmt.Errorf("%w: Content-Length beside Transfer-Encoding", errMalformed)
	case te != "":
		if !strings.EqualFold(te, "chunked") {
			return "", 0, fmt.Errorf("%w: Transfer-Encoding %q", errMalformed, te)
		}
		return Chunked, 0, nil
	case cl != "":
		n, err := strconv.ParseUint(cl, 10, 62)
		if err != nil {
			return "", 0, fmt.Errorf("%w: Content-Length %q", errMalformed, cl)
		}
		return Length, int64(n), nil
	}
	return without, 0, nil
}

// taker takes the bytes of a body as they come.
type taker interface{ take([]byte) }

// readBody reads a body to its end. After an error it is incomplete.
func readBody(r *bufio.Reader, f Framing, size int64, into taker) (trailer [][2]string, err error) {
	switch f {
	case Length:
		return nil, take(r, size, into)
	case Close:
		err := take(r, 1<<62, into)
		if err == io.ErrUnexpectedEOF {
			err = nil
		}
		return nil, err
	case Chunked:
		for {
			line, err := readLine(r)
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return nil, err
			}
			digits, _, _ := strings.Cut(line, ";")
			n, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 62)
			if err != nil {
				return nil, fmt.Errorf("%w: chunk size %q", errMalformed, line)
			}
			if n == 0 {
				return readFields(r)
			}
			if err := take(r, int64(n), into); err != nil {
				return nil, err
			}
			end := make([]byte, 2)
			if _, err := io.ReadFull(r, end); err != nil {
				return nil, cutShort(err)
			}
			if string(end) != "\r\n" {
				return nil, fmt.Errorf("%w: %q behind a chunk", errMalformed, end)
			}
		}
	}
	return nil, nil
}

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take reads size bytes of a body.
func take(r *bufio.Reader, size int64, into taker) error {
	for size > 0 {
		if _, err := r.Peek(1); err != nil {
			return cutShort(err)
		}
		p, _ := r.Peek(int(min(size, int64(r.Buffered()))))
		into.take(p)
		r.Discard(len(p))
		size -= int64(len(p))
	}
	return nil
}
