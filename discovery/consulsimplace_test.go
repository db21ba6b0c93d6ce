package discovery_test

import (
	"cmp"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"serai/consul/consulsim"
)

func newConsulPlace(t *testing.T) place { return consulPlaceOf(t, newSimulatedConsul) }

// simulatedConsul is a simulator on a socket.
type simulatedConsul struct {
	*consulsim.Sim
	t    *testing.T
	url  string
	stop func()
	wrap func(net.Listener) net.Listener // nil for none
}

func newSimulatedConsul(t *testing.T, token string) consulAgent {
	t.Helper()
	a := &simulatedConsul{Sim: consulsim.New(consulsim.Options{ACL: token != ""}), t: t}
	if token != "" {
		a.PutToken(consulsim.Token{Secret: token, Management: true})
	}
	a.start()
	t.Cleanup(func() { a.stop() })
	return a
}

func (a *simulatedConsul) address() string { return a.url }

func (a *simulatedConsul) kill() {
	a.stop()
	a.Reset()
}

func (a *simulatedConsul) start() {
	at := "127.0.0.1:0"
	if a.url != "" {
		at = strings.TrimPrefix(a.url, "http://")
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		a.t.Fatal(err)
	}
	a.url = "http://" + l.Addr().String()
	if a.wrap != nil {
		l = a.wrap(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		a.Run(ctx, l)
		close(ended)
	}()
	a.stop = sync.OnceFunc(func() { cancel(); <-ended })
}

func (a *simulatedConsul) pause(paused bool) { a.Partition(paused) }

func (a *simulatedConsul) let(token string, read bool) {
	var rules []consulsim.Rule
	if read {
		rules = []consulsim.Rule{{Resource: "service_prefix", Policy: "read"}, {Resource: "node_prefix", Policy: "read"}}
	}
	a.PutToken(consulsim.Token{Secret: cmp.Or(token, consulsim.AnonymousToken), Rules: rules})
}
