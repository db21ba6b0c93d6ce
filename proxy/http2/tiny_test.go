package http2_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// TestTinyData: a body may come byte by byte, but not forever. Frames as small as the
// smallest messages of gRPC and of WebSockets are not counted.
func TestTinyData(t *testing.T) {
	for _, c := range []struct {
		name        string
		controls    int
		size, count int
		ends        bool
	}{
		{"a body of bytes", 0, 1, 20_000, false},
		{"bytes without end", 1, 4, 256 * 50, true},
		{"messages without content", 1, 5, 256 * 50, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newStack(t, engine.Options{Controls: c.controls}, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n)
			})
			p := k.dial()
			p.post(1, "/")
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range c.count {
					if p.f.WriteData(1, i == c.count-1, make([]byte, c.size)) != nil {
						return
					}
				}
			}()
			if !c.ends {
				if status, body, code, whole := p.answer(1); status != "200" || body != fmt.Sprint(c.count*c.size) || !whole {
					t.Errorf("answered %s %q, %v", status, body, code)
				}
			} else if code, detail := p.goAway(); code != http2.ErrCodeEnhanceYourCalm && code != 0 {
				t.Errorf("it ends with %v %s", code, detail)
			}
			<-sent
			counted := uint64(0)
			if c.ends {
				counted = 1
			}
			until(t, "the counter", func() bool { return k.engine.Status().Ended["control-frames"] == counted })
		})
	}
}
