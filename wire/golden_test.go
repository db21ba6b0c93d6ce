package wire_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/wire"
	"serai/wire/socket"
)

var update = flag.Bool("update", false, "rewrite the verdicts in testdata")

// A case is a file testdata/requests/NAME.txt or testdata/responses/NAME.txt:
// the raw bytes as a list of quoted Go strings, one a line, with # for
// comments; then a line "---"; then the verdict.
func TestRequests(t *testing.T) {
	golden(t, "requests", func(raw []byte, _ map[string]string) string {
		var out strings.Builder
		conn := connOf(t, raw)
		for i := 1; ; i++ {
			var h wire.RequestHead
			n, err := readHead(conn, func(buf []byte) (int, error) { return h.ParseRequest(buf, wire.DefaultLimits()) })
			if err == io.EOF && len(conn.Buffered()) == 0 {
				return out.String()
			}
			fmt.Fprintf(&out, "message %d\n", i)
			if err != nil {
				fmt.Fprintf(&out, "refused %s\n", verdict(err))
				return out.String()
			}
			fmt.Fprintf(&out, "%s %s path=%q query=%q host=%q HTTP/1.%d\n", h.Method, h.Target, h.Path, h.Query, h.Host, h.Minor)
			writeFields(&out, h.Fields)
			fmt.Fprintf(&out, "keep-alive=%v continue=%v upgrade=%q\n", h.KeepAlive, h.Continue, h.Upgrade)
			conn.Discard(n)
			if !writeBody(&out, conn, h.Framing, h.Size, (*wire.Body).Reset) {
				return out.String()
			}
		}
	})
}

func TestResponses(t *testing.T) {
	golden(t, "responses", func(raw []byte, options map[string]string) string {
		var out strings.Builder
		conn := connOf(t, raw)
		method := []byte("GET")
		if m := options["method"]; m != "" {
			method = []byte(m)
		}
		var h wire.ResponseHead
		n, err := readHead(conn, func(buf []byte) (int, error) { return h.ParseResponse(buf, method, wire.DefaultLimits()) })
		if err != nil {
			fmt.Fprintf(&out, "refused %s\n", verdict(err))
			return out.String()
		}
		fmt.Fprintf(&out, "%d %q HTTP/1.%d\n", h.Status, h.Reason, h.Minor)
		writeFields(&out, h.Fields)
		fmt.Fprintf(&out, "keep-alive=%v declared=%v\n", h.KeepAlive, h.Declared)
		conn.Discard(n)
		writeBody(&out, conn, h.Framing, h.Size, (*wire.Body).ResetAnswer)
		if left := conn.Buffered(); len(left) > 0 {
			fmt.Fprintf(&out, "left over %s\n", brief(left))
		}
		return out.String()
	})
}

func golden(t *testing.T, dir string, run func(raw []byte, options map[string]string) string) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata/%s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(text), "---\n")
			raw, options := parseCase(t, input)
			got := run(raw, options)
			if *update {
				if err := os.WriteFile(file, []byte(input+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("verdict of %s\n got: %s\nwant: %s", file, got, want)
			}
		})
	}
}

// parseCase reads the lines of a case: comments, options (key: value), and
// quoted strings, with *N behind one to repeat it.
func parseCase(t *testing.T, input string) ([]byte, map[string]string) {
	var raw bytes.Buffer
	options := make(map[string]string)
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '"':
			var s string
			times := 1
			if i := strings.LastIndex(line, "\"*"); i > 0 {
				fmt.Sscanf(line[i+2:], "%d", &times)
				line = line[:i+1]
			}
			if _, err := fmt.Sscanf(line, "%q", &s); err != nil {
				t.Fatalf("line %s: %v", line, err)
			}
			raw.WriteString(strings.Repeat(s, times))
		default:
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("line %q is neither a comment, an option nor a quoted string", line)
			}
			options[key] = value
		}
	}
	return raw.Bytes(), options
}

func readHead(c *socket.Conn, parse func([]byte) (int, error)) (int, error) {
	for {
		n, err := parse(c.Buffered())
		if err != wire.ErrIncomplete {
			return n, err
		}
		if err := c.Fill(); err != nil {
			return 0, err
		}
	}
}

func writeFields(out *strings.Builder, fields []wire.Field) {
	for _, f := range fields {
		fmt.Fprintf(out, "  %s: %q", f.Name, f.Value)
		switch f.Kind {
		case wire.Lookalike:
			out.WriteString(" (lookalike)")
		case wire.Dropped:
			out.WriteString(" (dropped)")
		}
		out.WriteString("\n")
	}
}

// writeBody writes the body's framing and content, and reports whether it
// ended well.
func writeBody(out *strings.Builder, c *socket.Conn, f wire.Framing, size int64, reset func(*wire.Body, wire.Source, wire.Framing, int64, wire.Limits)) bool {
	framings := [...]string{"none", "length", "chunked", "until-eof"}
	fmt.Fprintf(out, "body %s", framings[f])
	var b wire.Body
	reset(&b, c, f, size, wire.DefaultLimits())
	var content []byte
	for {
		data, err := b.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Fprintf(out, " %s, cut by %s\n", brief(content), verdict(err))
			return false
		}
		content = append(content, data...)
	}
	fmt.Fprintf(out, " %s\n", brief(content))
	writeFields(out, b.Trailers())
	return true
}

func brief(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%q... (%d bytes)", b[:32], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func verdict(err error) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%d %s", e.Status, e.Code)
	}
	return err.Error()
}

// connOf returns a connection that yields raw byte by byte or at once, which
// must make no difference, and then ends.
func connOf(t *testing.T, raw []byte) *socket.Conn {
	return socket.NewConn(&pipe{Reader: bytes.NewReader(raw)})
}

type pipe struct {
	net.Conn
	io.Reader
}

func (p *pipe) Read(b []byte) (int, error) { return p.Reader.Read(b) }
