package upstream_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/internal/testnet"
	"serai/upstream"
	"serai/upstream/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long bounds waits for events; no test passes because it passes.
const long = time.Minute

// run makes a registry that runs until the test ends, and speaks HTTP/1.
func run(t *testing.T, o upstream.RegistryOptions) *upstream.Registry {
	t.Helper()
	o.Transport = http1.New
	r := upstream.NewRegistry(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// listen starts a listener that accepts and holds connections.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var conns []net.Conn
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return l
}

// free returns an address on which nothing listens.
func free(t *testing.T) string {
	t.Helper()
	return testnet.Address(t)
}

// await waits until condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// attributes is a request for pools.
type attributes struct {
	headers, cookies map[string]string
	ip               string
}

func (a attributes) Header(name string) []byte {
	if v, ok := a.headers[name]; ok {
		return []byte(v)
	}
	return nil
}

func (a attributes) Cookie(name string, nth int) []byte {
	if v, ok := a.cookies[name]; ok && nth == 0 {
		return []byte(v)
	}
	return nil
}

func (a attributes) ClientIP() []byte { return net.ParseIP(a.ip).To4() }
