package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/nomad"
)

// asHTTP2 reads a raw case as method, target and fields, and reports whether HTTP/2 can
// say the same: not where lines, versions or framing are what is wrong, or one connection
// carries several requests.
func asHTTP2(raw []byte) (fields []hpack.HeaderField, body []byte, ok bool) {
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	parts := strings.Split(lines[0], " ")
	if !found || len(parts) != 3 || strings.Contains(parts[1], "://") || parts[2] != "HTTP/1.1" || strings.ContainsAny(string(head), "\n") && strings.Count(string(head), "\n") != strings.Count(string(head), "\r\n") {
		return nil, nil, false
	}
	authority := 0
	fields = []hpack.HeaderField{{Name: ":method", Value: parts[0]}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: parts[1]}}
	rest := []hpack.HeaderField{}
	length := "0"
	for _, line := range lines[1:] {
		name, value, colon := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch name = strings.ToLower(name); {
		case !colon:
			return nil, nil, false
		case name == "host" && authority == 0:
			authority++
			fields = append(fields, hpack.HeaderField{Name: ":authority", Value: value})
			continue
		case name == "connection", name == "transfer-encoding", name == "te", name == "upgrade", name == "keep-alive", name == "proxy-connection", name == "http2-settings":
			return nil, nil, false
		case name == "content-length":
			length = value
		}
		rest = append(rest, hpack.HeaderField{Name: name, Value: value})
	}
	return append(fields, rest...), body, length == fmt.Sprint(len(body)) || len(body) == 0
}

// TestRawRequestsOverHTTP2: a head that HTTP/1 refuses is refused in HTTP/2 with the same
// status, and not seen by an instance; what it takes is taken.
func TestRawRequestsOverHTTP2(t *testing.T) {
	// What differs, and why.
	differs := map[string]string{
		"method-long":         "a field that is longer than a whole head may be ends the connection: the table would be lost",
		"fields-beyond-limit": "its Host, which is the last one, is no field",
		"host-twice":          "its second Host says what :authority says",
	}
	o := newRecorder(t, func(r *http.Request) string {
		if r.Method == http.MethodHead {
			return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	})
	_, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=*")})
	files, err := filepath.Glob(filepath.Join(rawCases, "requests", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), "---\n")
		raw, _ := rawCase(t, input)
		fields, body, ok := asHTTP2(raw)
		golden, err := os.ReadFile(filepath.Join("testdata", "requests", filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(golden), "\n")
		want, has := strings.CutPrefix(first, "client ")
		if !ok || !has {
			continue
		}
		tried++
		t.Run(name, func(t *testing.T) {
			client := fmt.Sprintf("127.2.%d.%d", i/250, 1+i%250)
			conn := dialFrom(t, client, address)
			conn.SetDeadline(time.Now().Add(long))
			fmt.Fprint(conn, http2.ClientPreface)
			f := http2.NewFramer(conn, conn)
			f.AllowIllegalWrites = true
			f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			f.WriteSettings()
			var block bytes.Buffer
			enc := hpack.NewEncoder(&block)
			for _, field := range fields {
				enc.WriteField(field)
			}
			all := block.Bytes()
			part := all[:min(len(all), 16000)]
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: part, EndHeaders: len(part) == len(all), EndStream: len(body) == 0})
			for all = all[len(part):]; len(all) > 0; {
				n := min(len(all), 16000)
				f.WriteContinuation(1, n == len(all), all[:n])
				all = all[n:]
			}
			for len(body) > 0 {
				n := min(len(body), 16000)
				f.WriteData(1, n == len(body), body[:n])
				body = body[n:]
			}
			got := ""
			for got == "" {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch frame := frame.(type) {
				case *http2.MetaHeadersFrame:
					got = frame.PseudoValue("status")
					for _, field := range frame.RegularFields() {
						if field.Name == "x-serai-reason" {
							got += " " + field.Value
						}
					}
				case *http2.RSTStreamFrame:
					got = frame.ErrCode.String()
				case *http2.GoAwayFrame:
					got = frame.ErrCode.String()
				}
			}
			// Where several things are wrong, the one that is found first may differ.
			if _, known := differs[name]; got[:3] != want[:3] && !known {
				t.Errorf("answered %s, over HTTP/1 %s", got, want)
			}
			if seen := o.of(client); (seen != nil) != strings.HasPrefix(want, "200") && differs[name] == "" && !strings.Contains(string(golden), "\norigin") {
				t.Errorf("answered %s, and the instance sees %q", got, seen)
			}
		})
	}
	t.Logf("%d of %d cases can be said in HTTP/2", tried, len(files))
	if tried < 40 {
		t.Errorf("only %d cases were tried", tried)
	}
}
