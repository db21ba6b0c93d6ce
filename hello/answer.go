package hello

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/valyala/fasthttp"
)

// Answer describes the service and the request, as JSON if the client accepts that.
type Answer struct {
	Name   string `json:"name"`
	Alloc  string `json:"alloc"`
	Node   string `json:"node"`
	Remote string `json:"remote"` // address and port of the connection
	// Protocol is HTTP/2.0, or empty for HTTP/1.
	Protocol string `json:"protocol,omitempty"`
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`  // as it came, without the query
	Query    string `json:"query"` // as it came, without the question mark
	// Headers are names and values, in the order and case in which they came.
	Headers [][2]string `json:"headers"`
	Body    int64       `json:"body"` // bytes
}

// tell answers with who the service is and what it received.
func (s *service) tell(c *fasthttp.RequestCtx) {
	uri := c.URI()
	a := Answer{
		Name: s.Name, Alloc: s.Alloc, Node: s.Node, Remote: c.RemoteAddr().String(), Method: string(c.Method()),
		Host: string(c.Host()), Path: string(uri.PathOriginal()), Query: string(uri.QueryString()),
		Headers: fields(c.Request.Header.RawHeaders()),
	}
	if body := c.RequestBodyStream(); body != nil {
		var err error
		a.Body, err = io.Copy(io.Discard, body)
		// fasthttp does not report a body that is shorter than its length.
		if length := int64(c.Request.Header.ContentLength()); err == nil && length >= 0 && a.Body != length {
			err = fmt.Errorf("%d of %d bytes: %w", a.Body, length, io.ErrUnexpectedEOF)
		}
		if err != nil {
			c.Error(fmt.Sprintf("read the body: %v\n", err), fasthttp.StatusBadRequest)
			c.SetConnectionClose()
			return
		}
	}
	if acceptsJSON(c.Request.Header.PeekAll("Accept")) {
		c.SetContentType("application/json")
		json.NewEncoder(c).Encode(a)
		return
	}
	c.SetContentType("text/plain; charset=utf-8")
	a.print(c)
}

// print writes a as text.
func (a *Answer) print(w io.Writer) {
	fmt.Fprintf(w, "%s, allocation %s on %s\n\n%s %s", a.Name, cmp.Or(a.Alloc, "-"), cmp.Or(a.Node, "-"), a.Method, a.Path)
	if a.Query != "" {
		fmt.Fprintf(w, "?%s", a.Query)
	}
	if a.Protocol != "" {
		fmt.Fprintf(w, " %s", a.Protocol)
	}
	fmt.Fprintln(w)
	for _, h := range a.Headers {
		fmt.Fprintf(w, "%s: %s\n", h[0], h[1])
	}
	fmt.Fprintf(w, "\nfrom %s, %d bytes of body\n", a.Remote, a.Body)
}

// fields splits a head that fasthttp has accepted. Folded lines are joined
// with a space.
func fields(raw []byte) (all [][2]string) {
	for line := range bytes.Lines(raw) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		if last := len(all) - 1; last >= 0 && (text[0] == ' ' || text[0] == '\t') {
			all[last][1] += " " + strings.Trim(text, " \t")
			continue
		}
		name, value, _ := strings.Cut(text, ":")
		all = append(all, [2]string{name, strings.Trim(value, " \t")})
	}
	return all
}

// acceptsJSON reports whether one of the Accept fields names application/json.
// Wildcards do not count: clients that send nothing else read text.
func acceptsJSON(accept [][]byte) bool {
	for _, field := range accept {
		for part := range strings.SplitSeq(string(field), ",") {
			if kind, p, err := mime.ParseMediaType(part); err == nil && kind == "application/json" && p["q"] != "0" {
				return true
			}
		}
	}
	return false
}
