package chaos

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crooked is a small proxy in this process that breaks one promise, or none.
// It reads each message whole and knows no limits.
type crooked struct {
	plant    plant
	cluster  *cluster
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	turn   int
	count  int    // requests so far
	served int    // connections that have ended
	swap   []byte // the answer before, of whomever
	counts map[string]float64
}

// plant is a promise that is broken.
type plant string

const (
	honest         plant = "nothing"
	repeats        plant = "sends requests twice"
	shortens       plant = "ends answers early"
	flipsAnswer    plant = "changes a byte of an answer"
	flipsRequest   plant = "changes a byte of a request"
	completes      plant = "ends cut requests in order"
	swaps          plant = "gives the answer to another request"
	misroutes      plant = "asks another service"
	otherHost      plant = "sends another Host"
	misnames       plant = "names another client"
	dawdles        plant = "waits while there is room"
	overtakes      plant = "lets later requests go first"
	fails          plant = "answers 502"
	dies           plant = "ends"
	miscounts      plant = "counts too few"
	keepsSome      plant = "keeps requests in flight"
	answersItself  plant = "answers without asking"
	closesSilently plant = "closes without saying so"
)

var _ proxy = (*crooked)(nil)

// plants returns what makes proxies with a plant.
func plants(p plant) maker {
	return func(_ *Program, c *cluster, _ string) (proxy, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		return &crooked{plant: p, cluster: c, listener: l, conns: make(map[net.Conn]bool), counts: make(map[string]float64)}, err
	}
}

func (k *crooked) at() (plain, secure string) {
	return k.listener.Addr().String(), k.listener.Addr().String()
}
func (k *crooked) alive() bool                            { return k.plant != dies }
func (k *crooked) rejections() (map[string]string, error) { return nil, nil }
func (k *crooked) hangup()                                {}
func (k *crooked) descriptors() int                       { return 10 }
func (k *crooked) members() ([]member, error)             { return nil, nil }
func (k *crooked) said() string                           { return "" }

func (k *crooked) start(context.Context) error {
	k.running.Go(func() {
		for {
			c, err := k.listener.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			k.conns[c] = true
			k.mu.Unlock()
			k.running.Go(func() {
				defer k.left(c)
				for r := bufio.NewReader(c); k.serve(c, r); {
				}
			})
		}
	})
	return nil
}

// left closes a connection that is served no longer.
func (k *crooked) left(c net.Conn) {
	c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
	k.served++
}

func (k *crooked) end(syscall.Signal, time.Duration) error {
	k.listener.Close()
	k.mu.Lock()
	for c := range k.conns {
		c.Close()
	}
	k.mu.Unlock()
	k.running.Wait()
	return nil
}

func (k *crooked) metrics() (map[string]float64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := map[string]float64{"serai_instances": 100, "go_goroutines": 10}
	for label, n := range k.counts {
		m[label] = n
	}
	switch k.plant {
	case completes:
		// What clients left behind may not even have been accepted yet: it is judged once each was served.
		m["serai_requests_in_flight"] = float64(max(0, len(k.cluster.program.Clients)-k.served))
	case miscounts:
		clear(k.counts)
	case keepsSome:
		m["serai_requests_in_flight"] = float64(k.count)
	}
	return m, nil
}

// message is one that was read whole.
type message struct {
	head
	body bytes.Buffer
	cut  bool
}

func (m *message) take(p []byte) { m.body.Write(p) }

func readMessage(r *bufio.Reader, without Framing, bodyless bool) (*message, error) {
	h, err := readHead(r)
	if err != nil {
		return nil, err
	}
	m := &message{head: h}
	framing, size, err := h.framing(without)
	if err != nil {
		return nil, err
	}
	if !bodyless {
		_, err = readBody(r, framing, size, m)
	}
	m.cut = err != nil
	return m, nil
}

// bytes writes it with a Content-Length.
func (m *message) bytes(length bool) []byte {
	b := []byte(m.first + "\r\n")
	for _, f := range m.fields {
		if f[0] != "Content-Length" && f[0] != "Transfer-Encoding" && f[0] != "Connection" {
			b = append(b, f[0]+": "+f[1]+"\r\n"...)
		}
	}
	if length {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", m.body.Len())
	}
	return append(append(b, "\r\n"...), m.body.Bytes()...)
}

// serve answers one request, and reports whether the connection goes on.
func (k *crooked) serve(c net.Conn, r *bufio.Reader) bool {
	q, err := readMessage(r, None, false)
	if err != nil || q.cut && k.plant != completes {
		return false
	}
	k.mu.Lock()
	k.count++
	nth := k.count
	k.mu.Unlock()
	switch {
	case k.plant == dawdles && nth%4 == 0:
		time.Sleep(900 * time.Millisecond)
	case k.plant == overtakes && nth == 2:
		time.Sleep(700 * time.Millisecond)
	case k.plant == fails && nth == 3:
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nX-Serai-Reason: bad-answer\r\nContent-Length: 0\r\n\r\n")
		return true
	case k.plant == closesSilently && nth == 3:
		return false
	case k.plant == answersItself && nth == 3:
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	case k.plant == flipsRequest && q.body.Len() > 0:
		q.body.Bytes()[q.body.Len()/2] ^= 1
	case k.plant == otherHost:
		q.fields[0][1] = "elsewhere.chaos"
	}
	client := loopback
	if k.plant == misnames {
		client = announcedAs
	}
	q.fields = append(q.fields, [2]string{"X-Real-Ip", client})
	i := k.pick(q.get("Host"))
	method, _, _ := strings.Cut(q.first, " ")
	out := q.bytes(q.body.Len() > 0 || q.get("Content-Length") != "" || q.get("Transfer-Encoding") != "")
	a := ask(i, out, method)
	if k.plant == repeats {
		a = ask(i, out, method)
	}
	if a == nil {
		return false
	}
	switch {
	case k.plant == shortens:
		a.body.Truncate(a.body.Len() / 2)
	case k.plant == flipsAnswer && a.body.Len() > 0:
		a.body.Bytes()[a.body.Len()-1] ^= 1
	}
	b := a.bytes(!strings.Contains(a.first, " 204 ") && method != "HEAD")
	k.mu.Lock()
	defer k.mu.Unlock()
	label := fmt.Sprintf("serai_requests_total{service=%q,class=\"%cxx\"}", i.service.Name, a.first[9])
	k.counts[label]++
	if k.plant == swaps && k.swap != nil {
		b = k.swap
	}
	k.swap = b
	_, err = c.Write(b)
	return err == nil
}

// pick chooses an instance in turn.
func (k *crooked) pick(host string) *instance {
	k.mu.Lock()
	defer k.mu.Unlock()
	service := k.cluster.program.Services[0].Name
	for _, s := range k.cluster.program.Services {
		if is := strings.HasPrefix(host, s.Name); is != (k.plant == misroutes) {
			service = s.Name
		}
	}
	k.turn++
	list := k.cluster.instances[service]
	return list[k.turn%len(list)]
}

// ask sends a request over a connection of its own. Nil is no whole answer.
func ask(i *instance, request []byte, method string) *message {
	c, err := net.Dial("tcp", i.address())
	if err != nil {
		return nil
	}
	defer c.Close()
	c.Write(request)
	r := bufio.NewReader(c)
	for {
		m, err := readMessage(r, Close, method == "HEAD")
		if err != nil || m.cut {
			return nil
		}
		if m.first[9] != '1' {
			return m
		}
	}
}
