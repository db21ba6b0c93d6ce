package router_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"serai/discovery"
	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

var update = flag.Bool("update", false, "rewrite the verdicts in testdata")

// attributes are the header fields of a request in a case.
type attributes map[string]string

func (a attributes) Header(name string) []byte {
	if v, ok := a[name]; ok {
		return []byte(v)
	}
	return nil
}
func (a attributes) Cookie(string, int) []byte { return nil }
func (a attributes) ClientIP() []byte          { return []byte{192, 0, 2, 1} }

// asked is the request of a case for policies, over plain HTTP.
type asked struct{ query *router.Query }

func (a asked) Received() *wire.RequestHead {
	return &wire.RequestHead{Method: a.query.Method, Path: a.query.Path, Query: a.query.RawQuery, HasQuery: len(a.query.RawQuery) > 0}
}
func (a asked) AppendHost(dst []byte) []byte { return router.AppendHost(dst, a.query.Host) }
func (a asked) OverHTTPS() bool              { return false }
func (a asked) StickyCookie() (_, _ string)  { return "", "" }
func (a asked) ClientAddr() netip.Addr       { return netip.AddrFrom4([4]byte(attributes{}.ClientIP())) }
func (a asked) Learned() *policy.Learned     { return &policy.Learned{} }
func (a asked) Wait(f func(<-chan struct{})) { f(nil) }
func (a asked) AppendForwarded(dst []wire.Field) []wire.Field {
	return dst
}
func (a asked) Looped() bool                                              { return false }
func (a asked) FromTrusted() bool                                         { return false }
func (a asked) AppendPlaceholder(dst []byte, _ policy.Placeholder) []byte { return dst }

// A case is a file of lines, then "---", then the verdict:
//
//	# why
//	set prefix P | set class C | set node N | set https-only | set default-host TEMPLATE | own NAMESPACE HOST,...
//	policy NAME [PATTERN,...]  a policy of the operator's file, for namespaces
//	setting KEY = VALUE        of the last policy; several of one key are a list
//	auth NAME [PATTERN,...]    an auth that lets nobody through
//	default PATTERN NAME,...   policies of all routes of namespaces
//	service NAMESPACE/NAME     a service, with one instance
//	instance ID ADDRESS:PORT   another one of the same service
//	tag TAG                    of the last instance
//	datacenter NAME | job NAME | consul    where it runs, what started it, its source
//	sidecar ADDRESS:PORT [only]  of the last instance, in Consul's mesh
//	get HOST PATH              or post; "with NAME: VALUE" adds a header to it
//	explain                    the last request
//
// The verdict is one line for each request, and the rejections.
func TestTables(t *testing.T) {
	files, err := filepath.Glob("testdata/tables/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(text), "---\n")
			got := verdict(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("verdict of %s\n got:\n%s\nwant:\n%s", file, got, want)
			}
		})
	}
}

// request is a line of a case.
type request struct {
	line    string
	query   router.Query
	explain bool
}

func verdict(t *testing.T, input string) string {
	o := router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{}), Owners: make(map[string][]string)}
	s := &discovery.Snapshot{Services: make(map[discovery.Key]*discovery.Service)}
	var service *discovery.Service
	var instance *discovery.Instance
	var requests []request
	var named operator
	index := uint64(0)
	add := func(id, address string) {
		index++
		host, port := address, 0
		if i := strings.LastIndexByte(address, ':'); i >= 0 {
			host = strings.Trim(address[:i], "[]")
			port, _ = strconv.Atoi(address[i+1:])
		}
		instance = &discovery.Instance{
			ID: id, Service: service.Name, Namespace: service.Namespace, Alloc: "alloc-" + id, Job: "job", Node: "node-1",
			Address: host, Port: port, Created: index, Modified: index,
		}
		service.Instances = append(service.Instances, instance)
	}
	for line := range strings.Lines(input) {
		line = strings.TrimRight(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "set":
			name, value, _ := strings.Cut(rest, " ")
			if name == "https-only" {
				o.HTTPSOnly = true
				break
			}
			*map[string]*string{"prefix": &o.Prefix, "class": &o.Class, "node": &o.Node, "default-host": &o.DefaultHost}[name] = value
		case "own":
			namespace, hosts, _ := strings.Cut(rest, " ")
			o.Owners[namespace] = strings.Split(hosts, ",")
		case "policy", "setting", "auth", "default":
			named.line(t, word, rest)
		case "service":
			namespace, name, _ := strings.Cut(rest, "/")
			service = &discovery.Service{Key: discovery.Key{Namespace: namespace, Name: name}}
			s.Services[service.Key] = service
			add(name, "10.0.0."+strconv.Itoa(len(s.Services))+":80")
		case "instance":
			id, address, _ := strings.Cut(rest, " ")
			add(id, address)
		case "datacenter":
			instance.Datacenter = rest
		case "job":
			instance.Job = rest
		case "consul":
			instance.Created += 1 << 52
		case "sidecar":
			address, only, _ := strings.Cut(rest, " ")
			side := netip.MustParseAddrPort(address)
			instance.Sidecar = &discovery.Sidecar{ID: instance.ID + "-sidecar", Address: side.Addr().String(), Port: int(side.Port()), Service: service.Name, Datacenter: "dc1", Only: only == "only"}
		case "tag":
			if strings.HasPrefix(rest, `"`) {
				if unquoted, err := strconv.Unquote(rest); err == nil {
					rest = unquoted
				}
			}
			instance.Tags = append(instance.Tags, rest)
		case "get", "post":
			host, path, _ := strings.Cut(rest, " ")
			path, query, _ := strings.Cut(path, "?")
			requests = append(requests, request{line: line, query: router.Query{
				Host: []byte(host), Method: []byte(strings.ToUpper(word)), Path: []byte(path), RawQuery: []byte(query), Attributes: attributes{},
			}})
		case "with":
			name, value, _ := strings.Cut(rest, ": ")
			r := &requests[len(requests)-1]
			r.query.Attributes.(attributes)[strings.ToLower(name)] = value
			r.line += ", " + rest
		case "explain":
			requests[len(requests)-1].explain = true
		default:
			t.Fatalf("line %q", line)
		}
	}
	if len(o.Owners) == 0 {
		o.Owners = nil
	}
	var wrong string
	o.Catalog, wrong = named.catalog()
	table := router.NewRouter()
	b, err := router.NewBuilder(table, o)
	if err != nil {
		return "options: " + err.Error() + "\n"
	}
	defer b.Close()
	b.Update(s)
	return wrong + report(table.Current(), requests)
}

func report(t *router.Table, requests []request) string {
	var out strings.Builder
	for _, r := range requests {
		route, miss := t.Lookup(&r.query)
		if route == nil {
			fmt.Fprintf(&out, "%s => %s\n", r.line, miss)
		} else {
			fmt.Fprintf(&out, "%s => %s", r.line, route)
			for _, m := range route.Pool.Members() {
				fmt.Fprintf(&out, ", %s", m.ID)
				if target := m.Endpoint.Target(); target.Peer != (upstream.Peer{}) {
					fmt.Fprintf(&out, " in the mesh at %s as %s", target.Address, target.Peer.Service)
				}
			}
			if route.Options.Redirect != nil {
				fmt.Fprintf(&out, ", %d %s", route.Options.Redirect.Status, route.Options.Redirect.AppendLocation(nil, asked{&r.query}))
			}
			out.WriteString("\n")
		}
		if r.explain {
			explanation := t.Explain(&r.query)
			for _, line := range explanation.Policies {
				fmt.Fprintf(&out, "    policy %s\n", line)
			}
			for _, c := range explanation.Candidates {
				fmt.Fprintf(&out, "    %s %s%s: %s\n", c.Route, c.Host, c.Path, c.Why)
			}
		}
	}
	for _, rejection := range t.Rejections() {
		fmt.Fprintf(&out, "refused %s\n", rejection)
	}
	return out.String()
}
