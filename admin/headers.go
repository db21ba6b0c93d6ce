package admin

import (
	"fmt"
	"strings"

	"serai/upstream"
)

// headers are the header fields of a request that somebody asks about.
type headers map[string]string

var _ upstream.Attributes = headers(nil)

// parseHeaders reads NAME:VALUE.
func parseHeaders(list []string) (headers, error) {
	h := make(headers)
	for _, s := range list {
		name, value, ok := strings.Cut(s, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || name == "" {
			return nil, fmt.Errorf("header %q is not NAME:VALUE", s)
		}
		h[name] = strings.TrimSpace(value)
	}
	return h, nil
}

// Header returns the value of a header field, nil when absent.
func (h headers) Header(name string) []byte {
	if v, ok := h[strings.ToLower(name)]; ok {
		return []byte(v)
	}
	return nil
}

// Cookie returns the value of a cookie, nil when absent.
func (h headers) Cookie(name string) []byte {
	for pair := range strings.SplitSeq(h["cookie"], ";") {
		if n, v, _ := strings.Cut(strings.TrimSpace(pair), "="); n == name {
			return []byte(v)
		}
	}
	return nil
}

// ClientIP is not known.
func (headers) ClientIP() []byte { return []byte{0, 0, 0, 0} }
