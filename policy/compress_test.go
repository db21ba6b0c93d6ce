package policy

import (
	"strings"
	"testing"

	"serai/internal/coding"
	"serai/internal/memory"
	"serai/wire"
)

// compressed runs the policy on an answer to a request, and returns the fields of what the
// client gets, whether its body is transformed, and how it is framed.
func compressed(t *testing.T, l *List, method, asks, answers string, h *wire.ResponseHead, own bool) (string, bool) {
	t.Helper()
	r := &request{}
	r.head.Method, r.head.Minor, r.head.Fields = []byte(method), 1, fieldsOf(asks)
	if strings.Contains(asks, "Upgrade:") {
		r.head.Upgrade = wire.Get(r.head.Fields, "upgrade")
	}
	h.Fields = fieldsOf(answers)
	a := &Answer{Request: r, Head: h, Own: own, Relayed: true, Values: &wire.Values{}}
	l.Answer(a)
	if a.Transform != nil {
		a.Transform.End()
	}
	return strings.ReplaceAll(lines(h.Fields), "\r\n", "\n"), a.Transform != nil
}

func all() *List { return ForRoute(&OfRoute{Compress: coding.Codings()}, &State{}) }

const (
	takes  = "Accept-Encoding: gzip, deflate, br, zstd\n"
	text   = "Content-Type: text/html; charset=utf-8\n"
	varies = "Vary: Accept-Encoding\n"
	zstd   = "Content-Encoding: zstd\n"
)

// TestCompressHead: which answers are compressed, and what their heads say.
func TestCompressHead(t *testing.T) {
	for name, c := range map[string]struct {
		method string // GET where empty
		asks   string
		status int // 200 where 0
		length int64
		answer string
		want   string // fields; "as it is" for those of answer
		whole  bool   // the body stays as it is, since the head is for others
	}{
		"text":                 {asks: takes, length: 2000, answer: text + "Content-Length: 2000\n", want: text + varies + zstd},
		"of an unknown length": {asks: takes, length: -1, answer: text, want: text + varies + zstd},
		"just long enough":     {asks: takes, length: 1024, answer: text + "Content-Length: 1024\n", want: text + varies + zstd},
		"too short":            {asks: takes, length: 1023, answer: text + "Content-Length: 1023\n", want: "as it is"},
		"empty":                {asks: takes, length: 0, answer: text + "Content-Length: 0\n", want: "as it is"},
		"not asked for":        {length: 2000, answer: text + "Content-Length: 2000\n", want: text + "Content-Length: 2000\n" + varies, whole: true},
		"refused":              {asks: "Accept-Encoding: gzip;q=0, identity\n", length: 2000, answer: text, want: text + varies, whole: true},
		"unknown codings":      {asks: "Accept-Encoding: deflate, exi, pack200-gzip\n", length: 2000, answer: text, want: text + varies, whole: true},
		"gzip alone":           {asks: "ACCEPT-ENCODING: GZIP\n", length: 2000, answer: text, want: text + varies + "Content-Encoding: gzip\n"},
		"br alone":             {asks: "Accept-Encoding: br\n", length: 2000, answer: text, want: text + varies + "Content-Encoding: br\n"},
		"no identity":          {asks: "Accept-Encoding: identity;q=0, gzip;q=0.1\n", length: 2000, answer: text, want: text + varies + "Content-Encoding: gzip\n"},
		"an error page":        {asks: takes, status: 404, length: 2000, answer: text, want: text + varies + zstd},
		"to a POST":            {method: "POST", asks: takes, length: 2000, answer: text, want: text + varies + zstd},

		"HEAD":                      {method: "HEAD", asks: takes, length: 2000, answer: text + "Content-Length: 2000\nETag: \"a\"\n", want: text + "ETag: W/\"a\"\n" + varies + zstd, whole: true},
		"HEAD without a length":     {method: "HEAD", asks: takes, length: -1, answer: text, want: text + varies + zstd, whole: true},
		"HEAD of what is too short": {method: "HEAD", asks: takes, length: 100, answer: text + "Content-Length: 100\n", want: "as it is"},
		"HEAD not asked for":        {method: "HEAD", length: 2000, answer: text + "Content-Length: 2000\n", want: text + "Content-Length: 2000\n" + varies, whole: true},

		"204":                        {asks: takes, status: 204, length: -2, answer: text, want: "as it is"},
		"205":                        {asks: takes, status: 205, length: 2000, answer: text, want: "as it is"},
		"206":                        {asks: takes, status: 206, length: 2000, answer: text, want: "as it is"},
		"a range without its status": {asks: takes, length: 2000, answer: text + "Content-Range: bytes 0-1999/5000\n", want: "as it is"},
		"416":                        {asks: takes, status: 416, length: 2000, answer: text + "Content-Range: bytes */5000\n", want: "as it is"},
		"101":                        {asks: takes, status: 101, length: -2, answer: text, want: "as it is"},
		"a range asked for":          {asks: takes + "Range: bytes=0-\n", length: 2000, answer: text, want: text + varies, whole: true},
		"if a range":                 {asks: takes + "If-Range: \"a\"\n", length: 2000, answer: text, want: text + varies, whole: true},
		"ranges are not offered":     {asks: takes, length: 2000, answer: text + "Accept-Ranges: bytes\n", want: text + varies + zstd},

		"coded already":              {asks: takes, length: 2000, answer: text + "Content-Encoding: gzip\nVary: Accept-Encoding\n", want: "as it is"},
		"coded for who asks nothing": {length: 2000, answer: text + "content-encoding: br\n", want: "as it is"},
		"coded in an unknown way":    {asks: takes, length: 2000, answer: text + "Content-Encoding: aes128gcm\n", want: "as it is"},
		"coded twice":                {asks: takes, length: 2000, answer: text + "Content-Encoding: identity\nContent-Encoding: gzip\n", want: "as it is"},
		"identity":                   {asks: takes, length: 2000, answer: text + "Content-Encoding: Identity\n", want: text + varies + zstd},
		"an empty coding":            {asks: takes, length: 2000, answer: text + "Content-Encoding: ,\n", want: text + varies + zstd},

		"no-transform":          {asks: takes, length: 2000, answer: text + "Cache-Control: public, No-Transform\n", want: "as it is"},
		"no-transform, second":  {asks: takes, length: 2000, answer: text + "Cache-Control: public\nCache-Control: no-transform\n", want: "as it is"},
		"no-transform asked":    {asks: takes + "Cache-Control: max-age=0, no-transform\n", length: 2000, answer: text, want: text + varies, whole: true},
		"no-cache asked":        {asks: takes + "Cache-Control: no-cache\n", length: 2000, answer: text, want: text + varies + zstd},
		"no-transformation":     {asks: takes, length: 2000, answer: text + "Cache-Control: x-no-transform\n", want: text + "Cache-Control: x-no-transform\n" + varies + zstd},
		"private":               {asks: takes, length: 2000, answer: text + "Cache-Control: private\nSet-Cookie: a=b\n", want: text + "Cache-Control: private\nSet-Cookie: a=b\n" + varies + zstd},
		"an MD5":                {asks: takes, length: 2000, answer: text + "Content-MD5: Q2hlY2s=\n", want: "as it is"},
		"a digest":              {asks: takes, length: 2000, answer: text + "Digest: sha-256=x\n", want: "as it is"},
		"a digest of content":   {asks: takes, length: 2000, answer: text + "Content-Digest: sha-256=:x:\n", want: "as it is"},
		"one of representation": {asks: takes, length: 2000, answer: text + "Repr-Digest: sha-256=:x:\n", want: "as it is"},
		"a signature":           {asks: takes, length: 2000, answer: text + "Signature: a=:x:\n", want: "as it is"},
		"a digest announced":    {asks: takes, length: -1, answer: text + "Trailer: X-Sum, repr-digest\n", want: "as it is"},
		"other trailers":        {asks: takes, length: -1, answer: text + "Trailer: X-Sum\n", want: text + "Trailer: X-Sum\n" + varies + zstd},
		"a digest wanted":       {asks: takes, length: 2000, answer: text + "Want-Repr-Digest: sha-256=1\n", want: text + "Want-Repr-Digest: sha-256=1\n" + varies + zstd},

		"Vary has it":       {asks: takes, length: 2000, answer: text + "Vary: Origin, accept-encoding\n", want: text + "Vary: Origin, accept-encoding\n" + zstd},
		"Vary is all":       {asks: takes, length: 2000, answer: text + "Vary: *\n", want: text + "Vary: *\n" + zstd},
		"Vary of others":    {asks: takes, length: 2000, answer: text + "Vary: Origin\n", want: text + "Vary: Origin\n" + varies + zstd},
		"a strong ETag":     {asks: takes, length: 2000, answer: text + "ETag: \"a,b\"\n", want: text + "ETag: W/\"a,b\"\n" + varies + zstd},
		"a weak ETag":       {asks: takes, length: 2000, answer: text + "ETag: W/\"a\"\n", want: text + "ETag: W/\"a\"\n" + varies + zstd},
		"no ETag":           {asks: takes, length: 2000, answer: text + "ETag: a\n", want: text + varies + zstd},
		"ETag as it is":     {length: 2000, answer: text + "ETag: \"a\"\n", want: text + "ETag: \"a\"\n" + varies, whole: true},
		"no type":           {asks: takes, length: 2000, answer: "X: 1\n", want: "as it is"},
		"two types":         {asks: takes, length: 2000, answer: text + text, want: "as it is"},
		"gRPC":              {asks: takes, length: -1, answer: "Content-Type: application/grpc+json\n", want: "as it is"},
		"gRPC-Web":          {asks: takes, length: -1, answer: "Content-Type: Application/Grpc-Web+xml\n", want: "as it is"},
		"a Connect stream":  {asks: takes, length: -1, answer: "Content-Type: application/connect+json\n", want: "as it is"},
		"a refused upgrade": {asks: takes + "Upgrade: websocket\n", status: 403, length: 2000, answer: text, want: text + varies, whole: true},
		"h2c not taken":     {asks: takes + "Upgrade: h2c\n", length: 2000, answer: text, want: text + varies + zstd},

		"by another site":            {asks: takes + "Sec-Fetch-Site: cross-site\n", length: 2000, answer: text, want: text + varies + zstd},
		"by another, with a cookie":  {asks: takes + "Sec-Fetch-Site: cross-site\nCookie: a=b\n", length: 2000, answer: text, want: text + varies, whole: true},
		"by another, with a login":   {asks: takes + "Authorization: Basic x\nSec-Fetch-Site: Cross-Site\n", length: 2000, answer: text, want: text + varies, whole: true},
		"by the site, with a cookie": {asks: takes + "Sec-Fetch-Site: same-origin\nCookie: a=b\n", length: 2000, answer: text, want: text + varies + zstd},

		"a stream":               {asks: takes, length: -1, answer: "Content-Type: text/event-stream\n", want: "Content-Type: text/event-stream\n" + varies + "Content-Encoding: gzip\n"},
		"a stream without gzip":  {asks: "Accept-Encoding: br\n", length: -1, answer: "Content-Type: text/event-stream\n", want: "Content-Type: text/event-stream\n" + varies + "Content-Encoding: br\n"},
		"a stream rather by br":  {asks: "Accept-Encoding: gzip;q=0.5, br\n", length: -1, answer: "Content-Type: text/event-stream\n", want: "Content-Type: text/event-stream\n" + varies + "Content-Encoding: br\n"},
		"not modified":           {asks: takes, status: 304, length: -2, answer: "ETag: \"a\"\n", want: "ETag: \"a\"\n" + varies, whole: true},
		"not modified, weak":     {asks: takes + "If-None-Match: \"b,\", W/\"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\n", want: "ETag: W/\"a\"\n" + varies, whole: true},
		"not modified, both":     {asks: takes + "If-None-Match: W/\"a\", \"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\n", want: "ETag: \"a\"\n" + varies, whole: true},
		"not modified, in lines": {asks: takes + "If-None-Match: \"b\"\nIf-None-Match: W/\"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\n", want: "ETag: W/\"a\"\n" + varies, whole: true},
		"not modified, a length": {asks: takes + "If-None-Match: W/\"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\nContent-Length: 2000\nAccept-Ranges: bytes\n", want: "ETag: W/\"a\"\n" + varies, whole: true},
		"not modified by date":   {asks: takes, status: 304, length: -2, answer: "Content-Length: 2000\n", want: varies, whole: true},
		"not modified, as it is": {asks: "If-None-Match: \"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\nContent-Length: 2000\n", want: "ETag: \"a\"\n" + varies, whole: true},
		"not modified, another":  {asks: takes + "If-None-Match: W/\"ab\"\n", status: 304, length: -2, answer: "ETag: \"a\"\n", want: "ETag: \"a\"\n" + varies, whole: true},
		"not modified, quoted":   {asks: takes + "If-None-Match: \"x, W/\"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\n", want: "ETag: \"a\"\n" + varies, whole: true},
		"not modified, an image": {asks: takes + "If-None-Match: W/\"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\nContent-Type: image/png\n", want: "as it is"},
		"not modified, coded":    {asks: takes + "If-None-Match: W/\"a\"\n", status: 304, length: -2, answer: "ETag: \"a\"\nContent-Encoding: gzip\n", want: "as it is"},
	} {
		h := &wire.ResponseHead{Status: max(c.status, 0), Minor: 1, Framing: wire.Length, Size: c.length}
		if h.Status == 0 {
			h.Status = 200
		}
		method := c.method
		if method == "" {
			method = "GET"
		}
		switch {
		case method == "HEAD":
			h.Framing, h.Declared, h.Size = wire.NoBody, c.length >= 0, max(c.length, 0)
		case c.length == -1:
			h.Framing, h.Size = wire.Chunked, 0
		case c.length == -2:
			h.Framing, h.Size = wire.NoBody, 0
		}
		framing := h.Framing
		want := c.want
		if c.want == "as it is" {
			want, c.whole = c.answer, true
		}
		got, transformed := compressed(t, all(), method, c.asks, c.answer, h, false)
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		if transformed == c.whole {
			t.Errorf("%s: transformed %v", name, transformed)
		}
		switch {
		case transformed && (h.Framing != wire.Chunked || h.Size != 0):
			t.Errorf("%s: framed as %v of %d", name, h.Framing, h.Size)
		case !transformed && h.Framing != framing:
			t.Errorf("%s: framed as %v", name, h.Framing)
		case method == "HEAD" && strings.Contains(got, "Content-Encoding") && h.Declared:
			t.Errorf("%s: a length is told", name)
		}
	}
}

// TestCompressedTypes: which media types are worth it.
func TestCompressedTypes(t *testing.T) {
	for _, s := range strings.Split("text/html|TEXT/CSS|text/plain;charset=utf-8|text/javascript ; x=y|application/json|application/JSON; charset=x|application/problem+json|image/svg+xml|"+
		"application/wasm|application/x-ndjson|application/openapi+yaml|font/ttf|application/manifest+json|application/atom+xml|image/x-icon", "|") {
		if !compressedType([]byte(s)) {
			t.Errorf("%q is not compressed", s)
		}
	}
	for _, s := range strings.Split("|text|text/|/|image/png|image/jpeg|video/mp4|audio/mpeg|application/zip|application/gzip|application/octet-stream|application/pdf|font/woff2|font/woff|"+
		"application/x-protobuf|application/grpc|application/grpc+proto|application/jsonx|xapplication/json|+json|application/json/x|multipart/x-mixed-replace;boundary=a", "|") {
		if compressedType([]byte(s)) {
			t.Errorf("%q is compressed", s)
		}
	}
}

// TestCompressOwn: answers of serai itself stay as they are, and so do those whose body
// nobody can transform.
func TestCompressOwn(t *testing.T) {
	h := &wire.ResponseHead{Status: 502, Framing: wire.Length, Size: 5000}
	if got, transformed := compressed(t, all(), "GET", takes, text, h, true); got != text || transformed {
		t.Errorf("%q, transformed %v", got, transformed)
	}
	r := &request{}
	r.head.Method, r.head.Minor, r.head.Fields = []byte("GET"), 1, fieldsOf(takes)
	a := &Answer{Request: r, Head: &wire.ResponseHead{Status: 200, Framing: wire.Chunked, Fields: fieldsOf(text)}, Values: &wire.Values{}}
	if all().Answer(a); a.Transform != nil || lines(a.Head.Fields) != "Content-Type: text/html; charset=utf-8\r\n" {
		t.Errorf("%q, transformed by %v", lines(a.Head.Fields), a.Transform)
	}
}

// TestCompressWithoutMemory: an answer for which there is none is sent as it is.
func TestCompressWithoutMemory(t *testing.T) {
	s := &State{Encoders: coding.NewEncoders(1)}
	l := ForRoute(&OfRoute{Compress: coding.Codings()}, s)
	h := &wire.ResponseHead{Status: 200, Framing: wire.Length, Size: 5000}
	if got, transformed := compressed(t, l, "GET", takes, text+"Content-Length: 5000\n", h, false); got != text+"Content-Length: 5000\n"+varies || transformed || h.Framing != wire.Length {
		t.Errorf("%q, transformed %v", got, transformed)
	}
	if n := s.Encoders.Status().Uncompressed; n != 1 {
		t.Errorf("%d are counted", n)
	}
}

// TestCompressMemoryOfClient: it is taken of the client's.
func TestCompressMemoryOfClient(t *testing.T) {
	b := memory.NewBudget(64 << 20)
	var c memory.Client
	c.Join(b)
	r := &request{}
	r.head.Method, r.head.Minor, r.head.Fields = []byte("GET"), 1, fieldsOf(takes)
	a := &Answer{Request: r, Head: &wire.ResponseHead{Status: 200, Framing: wire.Chunked, Fields: fieldsOf(text)}, Relayed: true, Memory: &c, Values: &wire.Values{}}
	all().Answer(a)
	if n, _ := b.Taken(memory.Encoders); a.Transform == nil || n < 100<<10 {
		t.Fatalf("%d bytes are taken", n)
	}
	a.Transform.End()
	if n, _ := b.Taken(memory.Encoders); n != 0 {
		t.Errorf("%d bytes are taken at the end", n)
	}
}

// TestDropDigests: in trailers, too.
func TestDropDigests(t *testing.T) {
	fields := fieldsOf("X-Sum: 1\nRepr-Digest: a\ncontent-md5: b\n")
	if DropDigests(fields); lines(fields) != "X-Sum: 1\r\n" {
		t.Errorf("%q", lines(fields))
	}
}

// TestNamedCompress: a named policy uses the same memory as all others.
func TestNamedCompress(t *testing.T) {
	s := &State{Encoders: coding.NewEncoders(0), Rates: NewRates(0)}
	l := Layer{Policy: "shared", Route: &OfRoute{Compress: []coding.Coding{coding.Gzip}}}
	if named := l.state(s); named.Encoders != s.Encoders || named.Rates != s.Rates {
		t.Error("it has memory of its own")
	}
	list := RouteLayers([]Layer{{Route: &OfRoute{}}, l}, s)
	if got := Explain(list, nil); len(got) != 1 || got[0] != "compress: clients that take it get text of 1 KiB and more compressed, by gzip (policy shared)" {
		t.Errorf("%q", got)
	}
}
