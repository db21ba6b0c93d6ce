package discovery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"serai/consul"
	"serai/discovery"
	"serai/internal/consulagent"
)

// consulAgent is an agent of Consul that a test can stop.
type consulAgent interface {
	address() string
	// kill ends it, and start starts it again, with nothing of what it knew.
	kill()
	start()
	// pause has it answer nothing.
	pause(paused bool)
	// let lets a token, which may be empty, read all services, or nothing.
	let(token string, read bool)
}

// consuls make agents: simulated ones, and real ones where there is a binary. A token that
// is not empty is that of the management, and demands rights of all others.
var consuls = map[string]func(t *testing.T, token string) consulAgent{"simulator": newSimulatedConsul, "a real agent": newRealConsul}

// realConsul is a real agent.
type realConsul struct {
	*consulagent.Agent
	t             *testing.T
	token, policy string
}

// realAgents bounds how many real agents run at once: each takes a hundred megabytes.
var realAgents = make(chan struct{}, 2)

func newRealConsul(t *testing.T, token string) consulAgent {
	t.Helper()
	a := &realConsul{Agent: consulagent.New(t, consulagent.Config{Token: token}), t: t, token: token}
	realAgents <- struct{}{}
	t.Cleanup(func() {
		a.Kill()
		<-realAgents
	})
	a.start()
	return a
}

func (a *realConsul) address() string   { return a.URL }
func (a *realConsul) kill()             { a.Kill() }
func (a *realConsul) pause(paused bool) { a.Pause(paused) }

func (a *realConsul) start() {
	a.Start(a.t)
	a.AwaitLeader(a.t)
}

// anonymousToken is the accessor of the token of requests that send none.
const anonymousToken = "00000000-0000-0000-0000-000000000002"

func (a *realConsul) let(token string, read bool) {
	rules := ""
	if read {
		rules = `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`
	}
	c := consulCatalog{t: a.t, url: a.URL, token: a.token}
	if a.policy != "" {
		c.put("/v1/acl/policy/"+a.policy, map[string]any{"ID": a.policy, "Name": "serai", "Rules": rules})
		return
	}
	var answer struct{ ID string }
	if err := json.Unmarshal(c.put("/v1/acl/policy", map[string]any{"Name": "serai", "Rules": rules}), &answer); err != nil {
		a.t.Fatal(err)
	}
	a.policy = answer.ID
	link := []map[string]string{{"ID": a.policy}}
	if token == "" {
		c.put("/v1/acl/token/"+anonymousToken, map[string]any{"AccessorID": anonymousToken, "Policies": link})
	} else {
		c.put("/v1/acl/token", map[string]any{"SecretID": token, "Policies": link})
	}
}

// consulPlace is an agent of Consul that is reached through a relay.
type consulPlace struct {
	catalog consulCatalog
	relay   *relay
	held    map[string]discovery.Instance
}

func newRealConsulPlace(t *testing.T) place { return consulPlaceOf(t, newRealConsul) }

func consulPlaceOf(t *testing.T, agent func(*testing.T, string) consulAgent) place {
	a := agent(t, "")
	return &consulPlace{consulCatalog{t: t, url: a.address()}, newRelay(t, a.address()), make(map[string]discovery.Instance)}
}

func (p *consulPlace) ordered() bool { return true }

func (p *consulPlace) source(t *testing.T) discovery.Source {
	return newConsulSource(t, discovery.ConsulOptions{Client: newConsulClient(t, consul.Options{Address: p.relay.url})})
}

func newConsulSource(t *testing.T, o discovery.ConsulOptions) discovery.Source {
	t.Helper()
	s, err := discovery.NewConsul(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newConsulClient(t *testing.T, o consul.Options) *consul.Client {
	t.Helper()
	c, err := consul.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// nodeAddress is the address of all nodes.
const nodeAddress = "10.9.9.9"

// told is an instance as it is in Consul, which knows no jobs, and has an address for each
// node.
func (p *consulPlace) told(i discovery.Instance) discovery.Instance {
	i.ID, i.Namespace, i.Job, i.Alloc = i.Node+"/"+i.ID, discovery.ConsulNamespace, "", ""
	if i.Address == "" {
		i.Address = nodeAddress
	}
	return i
}

func (p *consulPlace) set(t *testing.T, all ...discovery.Instance) {
	next := make(map[string]discovery.Instance)
	for _, i := range all {
		next[i.ID] = i
		if !reflect.DeepEqual(p.held[i.ID], i) {
			p.catalog.register(i.Node, consulService{ID: i.ID, Service: i.Service, Tags: i.Tags, Address: i.Address, Port: i.Port}, consul.Passing)
		}
	}
	for id, i := range p.held {
		if _, stays := next[id]; !stays {
			p.catalog.deregister(i.Node, id)
		}
	}
	p.held = next
}

func (p *consulPlace) away(*testing.T) (back func()) {
	p.relay.close()
	return p.relay.open
}

// consulCatalog writes into the catalog as agents do.
type consulCatalog struct {
	t          testing.TB
	url, token string
}

// consulService is a service as it is registered.
type consulService struct {
	ID, Service     string
	Kind            string `json:",omitempty"`
	Tags            []string
	Meta            map[string]string `json:",omitempty"`
	Address         string
	Port            int
	TaggedAddresses map[string]consul.Address `json:",omitempty"`
	Weights         *consul.Weights           `json:",omitempty"`
	Proxy           *consul.Proxy             `json:",omitempty"`
	Connect         *connectNative            `json:",omitempty"`
}

type connectNative struct{ Native bool }

type consulCheck struct {
	Node, CheckID, Name, Status, ServiceID string
}

// register registers a service on a node, with a check of that state, none if it is empty.
func (c consulCatalog) register(node string, s consulService, state string) {
	c.t.Helper()
	body := map[string]any{"Node": node, "Address": nodeAddress, "SkipNodeUpdate": false, "Service": s,
		"TaggedAddresses": map[string]string{"wan": "192.0.2.9"}}
	if state != "" {
		body["Check"] = consulCheck{node, "service:" + s.ID, "works", state, s.ID}
	}
	c.put("/v1/catalog/register", body)
}

// check sets the state of a check, which is its node's when service is empty.
func (c consulCatalog) check(node, service, id, state string) {
	c.t.Helper()
	c.put("/v1/catalog/register", map[string]any{"Node": node, "Address": nodeAddress, "SkipNodeUpdate": true, "Check": consulCheck{node, id, id, state, service}})
}

func (c consulCatalog) uncheck(node, id string) {
	c.t.Helper()
	c.put("/v1/catalog/deregister", map[string]any{"Node": node, "CheckID": id})
}

func (c consulCatalog) deregister(node, id string) {
	c.t.Helper()
	c.put("/v1/catalog/deregister", map[string]any{"Node": node, "ServiceID": id})
}

func (c consulCatalog) deregisterNode(node string) {
	c.t.Helper()
	c.put("/v1/catalog/deregister", map[string]any{"Node": node})
}

// put writes something, and returns the answer.
func (c consulCatalog) put(path string, body any) (answer []byte) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPut, c.url+path, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-Consul-Token", c.token)
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("PUT %s %s: %s %s %v", path, text, res.Status, answer, err)
	}
	return answer
}

// relay passes connections on, as long as it is open.
type relay struct {
	t       testing.TB
	url, to string
	mu      sync.Mutex
	l       net.Listener
	conns   map[net.Conn]bool
	running sync.WaitGroup
}

func newRelay(t testing.TB, url string) *relay {
	r := &relay{t: t, to: strings.TrimPrefix(url, "http://"), conns: make(map[net.Conn]bool)}
	r.open()
	t.Cleanup(func() {
		r.close()
		r.running.Wait()
	})
	return r
}

func (r *relay) open() {
	at := "127.0.0.1:0"
	if r.url != "" {
		at = strings.TrimPrefix(r.url, "http://")
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.l, r.url = l, fmt.Sprintf("http://%s", l.Addr())
	r.mu.Unlock()
	r.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.pass(l, in) })
		}
	})
}

// pass copies until one side ends, or the relay is closed.
func (r *relay) pass(l net.Listener, in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer out.Close()
	r.mu.Lock()
	if r.l != l {
		r.mu.Unlock()
		return
	}
	r.conns[in] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.conns, in)
		r.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(out, in)
		out.Close()
	})
	io.Copy(in, out)
	in.Close()
	both.Wait()
}

// close ends all connections, and refuses new ones.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.l == nil {
		return
	}
	r.l.Close()
	r.l = nil
	for c := range r.conns {
		c.Close()
	}
}
