package main

import (
	"cmp"
	"errors"
	"net/http"
	"sync/atomic"

	"serai/policy/auth"
	"serai/proxy"
)

// tableServices has services of the table asked what policies want to know. A config file is
// read before there is a proxy, which knows the table.
type tableServices struct{ proxy atomic.Pointer[proxy.Proxy] }

// asking is what asks a service, named NAMESPACE/NAME, for answers of at most that many bytes;
// 0 for the default.
func (t *tableServices) asking(service string, most int) http.RoundTripper {
	return serviceTransport{t, service, cmp.Or(most, auth.DefaultAnswer)}
}

type serviceTransport struct {
	*tableServices
	service string
	most    int
}

// RoundTrip implements http.RoundTripper.
func (t serviceTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	p := t.proxy.Load()
	if p == nil {
		return nil, errors.New("is not known yet")
	}
	return p.Ask(t.service, r, t.most)
}
