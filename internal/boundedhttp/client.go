// Package boundedhttp answers: how does serai ask a server on the network that may answer
// with anything, of any size, and whose authorities may be replaced?
package boundedhttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxHead bounds the head of an answer, in bytes.
const maxHead = 64 << 10

// Bounds limit what a server may answer.
type Bounds struct {
	// Body bounds the body of an answer, in bytes, after decompression. To read more of it
	// is an error.
	Body int64
	// Redirects bounds the redirects that are followed. They must lead to the same scheme
	// and host. With 0 a redirect is returned like any other answer: it could lead a
	// secret, or serai, to where the operator has not said.
	Redirects int
	// TooLarge is called once for each answer whose body is larger; nil for nothing.
	TooLarge func()
}

// NewClient makes a client with these bounds. It owns the transport from then on.
func NewClient(t *http.Transport, b Bounds) *http.Client {
	t.MaxResponseHeaderBytes = maxHead
	return &http.Client{Transport: &transport{t, b}, CheckRedirect: b.checkRedirect}
}

func (b Bounds) checkRedirect(next *http.Request, via []*http.Request) error {
	switch {
	case b.Redirects == 0:
		return http.ErrUseLastResponse
	case next.URL.Scheme != via[0].URL.Scheme || next.URL.Host != via[0].URL.Host || len(via) > b.Redirects:
		return errors.New("redirects to another server, or too often")
	}
	return nil
}

// transport bounds the bodies of the answers.
type transport struct {
	*http.Transport
	Bounds
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.Transport.RoundTrip(r)
	if err == nil {
		res.Body = &body{res.Body, &t.Bounds, t.Body}
	}
	return res, err
}

// body is the body of an answer.
type body struct {
	io.ReadCloser
	bounds *Bounds
	left   int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.tooLarge()
	}
	// One byte more than is left shows whether the body ends there.
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		if b.bounds.TooLarge != nil {
			b.bounds.TooLarge()
		}
		return n - 1, b.tooLarge()
	}
	return n, err
}

func (b *body) tooLarge() error {
	return fmt.Errorf("the document has more than %d bytes", b.bounds.Body)
}
