package nomad

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"

	"serai/internal/agentapi"
)

// fuzzToken must not appear in errors.
const fuzzToken = "8f1c2f6e-secret-0123456789abcdef"

func fuzzRequest() *request {
	return &request{op: "fuzz", method: http.MethodGet, path: "/v1/fuzz", params: url.Values{}, token: fuzzToken}
}

// bearable fails the test if an error shows the token, or is longer than a log
// line should be, or more than one line.
func bearable(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if strings.Contains(text, fuzzToken) {
		t.Errorf("%s\nshows the token", text)
	}
	if len(text) > 1500 || strings.ContainsAny(text, "\n\r\x00") {
		t.Errorf("%.3000q\nis no line of bearable length", text)
	}
}

// FuzzBatch reads lines of the event stream. What is accepted must be complete: every
// event has an index, and a registration that can be identified. What this package and
// Nomad's client both read must be equal.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {} `, `null`, `[]`, `{"Index":0}`, `{"Index":7}`, `{"Index":-1}`, `{"Index":18446744073709551616}`, `{"index":7,"EVENTS":[]}`,
		`{"Index":7,"Events":[{"Topic":"Service","Type":"ServiceRegistration","Key":"k","Namespace":"default","Index":7,"Payload":{"Service":{"ID":"i","ServiceName":"s","Namespace":"default","NodeID":"n","Datacenter":"dc1","JobID":"j","AllocID":"a","Tags":["x","y"],"Address":"10.0.0.1","Port":80,"CreateIndex":3,"ModifyIndex":7}}}]}`,
		`{"Index":7,"Events":[{"Topic":"Service","Type":"AllocationUpdated","Payload":{"Service":{"ID":"i","ServiceName":"s","Namespace":"default","Tags":null}}}]}`,
		`{"Index":7,"Events":[{"Topic":"Node","Type":"NodeEvent","Payload":{}},null]}`,
		`{"Index":7,"Events":[{"Topic":"Service","Type":"","Payload":{"Service":{}}}]}`,
		`{"Index":7,"Events":[{"Topic":"Service","Type":"` + fuzzToken + `","Payload":null}]}`,
		`{"Index":7}{}`, "{\"Index\":7\x00}", `{"Error":{"Message":"x"}}`, strings.Repeat(`{"Events":[`, 50),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		b, err := decodeBatch(line, fuzzToken)
		if err != nil {
			if b.Index != 0 || b.Events != nil {
				t.Errorf("a bad line gave %+v too", b)
			}
			bearable(t, fuzzRequest().fail(ErrBadAnswer, 200, err))
			return
		}
		if b.Heartbeat() != bytes.Equal(bytes.TrimSpace(line), []byte("{}")) {
			t.Errorf("heartbeat: %v", b.Heartbeat())
		}
		for _, e := range b.Events {
			if e.Index == 0 || e.Registration.ID == "" || e.Registration.ServiceName == "" || e.Registration.Namespace == "" {
				t.Errorf("taken: %+v", e)
			}
		}
		var theirs api.Events
		if json.Unmarshal(line, &theirs) != nil {
			return // Nomad's client is stricter with what we do not read
		}
		if theirs.Index != b.Index {
			t.Errorf("index %d; Nomad's client reads %d", b.Index, theirs.Index)
		}
		n := 0
		for _, e := range theirs.Events {
			if e.Topic != api.TopicService {
				continue
			}
			if n >= len(b.Events) {
				t.Fatalf("%d events; Nomad's client reads more", n)
			}
			if reg, err := e.Service(); err == nil && reg != nil {
				sameRegistration(t, b.Events[n].Registration, reg)
			}
			if b.Events[n].Deleted != (e.Type != "ServiceRegistration") {
				t.Errorf("type %q: deleted is %v", e.Type, b.Events[n].Deleted)
			}
			n++
		}
		if n != len(b.Events) {
			t.Errorf("%d events; Nomad's client reads %d", len(b.Events), n)
		}
	})
}

// sameRegistration compares our reading with that of Nomad's client. Its event payloads
// go through a decoder that tolerates wrong types; where it read nothing there is
// nothing to compare.
func sameRegistration(t *testing.T, ours Registration, theirs *api.ServiceRegistration) {
	t.Helper()
	if theirs.ID != ours.ID || theirs.ServiceName != ours.ServiceName || theirs.Namespace != ours.Namespace || theirs.NodeID != ours.NodeID ||
		theirs.JobID != ours.JobID || theirs.AllocID != ours.AllocID || theirs.Datacenter != ours.Datacenter ||
		theirs.Address != ours.Address || theirs.Port != ours.Port || len(theirs.Tags) != len(ours.Tags) {
		t.Errorf("ours   %+v\ntheirs %+v", ours, *theirs)
	}
}

// FuzzLines cuts a stream into lines: whatever the buffer's size, each line
// comes once and whole, and none is longer than the limit.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{}\n{}\n"), uint8(16), uint8(10))
	f.Add([]byte("a\n\nbb\r\n"), uint8(0), uint8(3))
	f.Add([]byte("no end"), uint8(20), uint8(200))
	f.Add(bytes.Repeat([]byte("x"), 100), uint8(16), uint8(50))
	f.Fuzz(func(t *testing.T, in []byte, size, limit uint8) {
		r := bufio.NewReaderSize(bytes.NewReader(in), int(size))
		rest := in
		for {
			line, err := readLine(r, int(limit))
			end := bytes.IndexByte(rest, '\n')
			switch {
			case err == nil:
				if end < 0 || !bytes.Equal(line, rest[:end]) || len(line) > int(limit) {
					t.Fatalf("line %q of %q, limit %d", line, rest, limit)
				}
				rest = rest[end+1:]
				continue
			case errors.Is(err, ErrBadAnswer):
				if end >= 0 && end < int(limit) || end < 0 && len(rest) <= int(limit) {
					t.Errorf("%q is refused at limit %d: %v", rest, limit, err)
				}
			case errors.Is(err, io.ErrUnexpectedEOF):
				if end >= 0 || len(rest) == 0 {
					t.Errorf("%q: %v", rest, err)
				}
			case errors.Is(err, io.EOF):
				if len(rest) != 0 {
					t.Errorf("%q is lost", rest)
				}
			default:
				t.Error(err)
			}
			return
		}
	})
}

// fuzzClient decodes and never sends.
func fuzzClient(f *testing.F) *Client {
	c, err := NewClient(Options{Token: fuzzToken})
	if err != nil {
		f.Fatal(err)
	}
	return c
}

// FuzzServices reads answers of /v1/services. What is accepted is what Nomad's client
// reads, and an empty list is also empty there.
func FuzzServices(f *testing.F) {
	for _, seed := range []string{
		`[]`, `[ ]`, ``, `null`, `{}`, `[null]`, `[{}]`, `[{"Namespace":"default","Services":[]}]`, `[{"Namespace":"default","Services":null}]`,
		`[{"Namespace":"default","Services":[{"ServiceName":"a","Tags":["x","y"]},{"ServiceName":"b","Tags":null}]},{"Namespace":"shop","Services":[{"ServiceName":"c","Tags":[]}]}]`,
		`[{"Namespace":"` + fuzzToken + `","Services":[{"ServiceName":7}]}]`, `<html>`, `[{"Namespace":"default","Services":[{"ServiceName":"a"}]}`,
		`[{"namespace":"default","SERVICES":[{"servicename":"a"}]}]`, "[{\"Namespace\":\"\xff\",\"Services\":[]}]",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	c := fuzzClient(f)
	f.Fuzz(func(t *testing.T, body []byte, all bool) {
		q := Query{}
		if all {
			q.Namespace = AllNamespaces
		}
		var stubs []ServiceStub
		r := fuzzRequest()
		err := c.inParts(t.Context(), r, &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(body))}, func(_ http.Header, a *agentapi.Reader) error {
			return readServices(a, r, q, func(stub ServiceStub) error {
				stubs = append(stubs, stub)
				return nil
			})
		})
		if err != nil {
			if !errors.Is(err, ErrBadAnswer) {
				t.Error(err)
			}
			bearable(t, err)
			return
		}
		var theirs []*api.ServiceRegistrationListStub
		if err := json.Unmarshal(body, &theirs); err != nil {
			t.Fatalf("taken: %+v; Nomad's client: %v", stubs, err)
		}
		n := 0
		for _, ns := range theirs {
			if !all && ns.Namespace != DefaultNamespace {
				t.Errorf("namespace %q was taken", ns.Namespace)
			}
			for _, s := range ns.Services {
				if got := stubs[n]; got.Namespace != ns.Namespace || got.ServiceName != s.ServiceName || got.ServiceName == "" || !got.Cut && len(got.Tags) != len(s.Tags) {
					t.Errorf("%+v; Nomad's client reads %+v in %q", got, s, ns.Namespace)
				}
				n++
			}
		}
		if n != len(stubs) || len(theirs) == 0 && string(bytes.Join(bytes.Fields(body), nil)) != "[]" {
			t.Errorf("%q gave %d services; Nomad's client reads %d", body, len(stubs), n)
		}
	})
}

// FuzzRegistrations reads answers of /v1/service/shop, in the same way.
func FuzzRegistrations(f *testing.F) {
	for _, seed := range []string{
		`[]`, ``, `null`, `{}`, `[null]`, `[{}]`, `[{"ID":"i","ServiceName":"shop","Namespace":"default"}]`,
		`[{"ID":"i","ServiceName":"shop","Namespace":"default","NodeID":"n","Datacenter":"dc1","JobID":"j","AllocID":"a","Tags":["ingress.host=shop.test"],"Address":"10.0.0.1","Port":80,"CreateIndex":3,"ModifyIndex":7}]`,
		`[{"ID":"i","ServiceName":"cart","Namespace":"default","Port":-1}]`, `[{"ID":"i","ServiceName":"shop","Namespace":"default","Port":1e99}]`,
		`[{"ID":"i","ServiceName":"shop","Namespace":"default","Tags":"x"}]`, `[{"ID":"` + fuzzToken + `","ServiceName":"` + fuzzToken + `"}]`,
	} {
		f.Add([]byte(seed))
	}
	c := fuzzClient(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		var regs []Registration
		r := fuzzRequest()
		r.most = 1 << 20
		err := c.inParts(t.Context(), r, &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(body))}, func(_ http.Header, a *agentapi.Reader) (err error) {
			regs, err = readService(a, r, "shop", Query{})
			return err
		})
		if err != nil {
			if !errors.Is(err, ErrBadAnswer) {
				t.Error(err)
			}
			bearable(t, err)
			return
		}
		var theirs []*api.ServiceRegistration
		if err := json.Unmarshal(body, &theirs); err != nil || len(theirs) != len(regs) {
			t.Fatalf("taken: %+v; Nomad's client: %+v, %v", regs, theirs, err)
		}
		for i := range regs {
			if regs[i].ID == "" || regs[i].ServiceName != "shop" || regs[i].Namespace != DefaultNamespace {
				t.Errorf("taken: %+v", regs[i])
			}
			sameRegistration(t, regs[i], theirs[i])
		}
		if len(regs) == 0 && string(bytes.Join(bytes.Fields(body), nil)) != "[]" {
			t.Errorf("%q read as none", body)
		}
	})
}

// FuzzVariable reads answers about a variable, whose values must not appear in errors.
func FuzzVariable(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, ``, `{"Path":"a","Namespace":"default","Items":{"k":"v"},"CreateIndex":3,"ModifyIndex":7,"CreateTime":1700000000000000000,"Lock":{"ID":"l"}}`,
		`{"Path":"a","Namespace":"default","Items":{"` + fuzzToken + `":7}}`, `{"Path":"a","Namespace":"default","Lock":null,"CreateTime":-1}`, `[]`,
		`{"Path":"a","Items":"` + fuzzToken + `"}`,
	} {
		f.Add([]byte(seed))
	}
	c := fuzzClient(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := c.decodeVariable(fuzzRequest(), body)
		if err != nil {
			if v != nil || !errors.Is(err, ErrBadAnswer) {
				t.Errorf("%v, %v", v, err)
			}
			bearable(t, err)
			return
		}
		if v.Path == "" || v.Namespace == "" {
			t.Errorf("taken: %+v", v)
		}
	})
}

// FuzzAddress: an address is refused with a list of the valid forms, or it can be used
// and parses to itself again.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"", "http://127.0.0.1:4646", "https://[::1]:4646/x/", "unix:///a/b.sock", "unix:a", "http://u:p@h", "h:1", "http://h:99999", "//h", "http://%zz", "unix:///a%20b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "nomad address ") || !strings.HasSuffix(err.Error(), "want http://HOST:PORT, https://HOST:PORT or unix:///PATH") {
				t.Error(err)
			}
			return
		}
		if a.Base.User != nil || a.Base.RawQuery != "" || a.Base.Hostname() == "" {
			t.Errorf("%q was taken as %+v", s, a)
		}
		req, err := http.NewRequest(http.MethodGet, a.Base.String()+"/v1/services", nil)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if !strings.HasSuffix(req.URL.Path, "/v1/services") {
			t.Errorf("%q asks for %q", s, req.URL)
		}
		if a.Socket == "" {
			again, err := parseAddress(a.Base.String())
			if err != nil || again.Base.String() != a.Base.String() {
				t.Errorf("%q is %q, and that is %q, %v", s, a.Base.String(), again.Base.String(), err)
			}
		}
	})
}

// FuzzShorten: text from an agent becomes one line of a log.
func FuzzShorten(f *testing.F) {
	f.Add([]byte("a\nb\x00\xff" + fuzzToken))
	f.Add(bytes.Repeat([]byte("ä"), 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := excerpt(b, fuzzToken)
		if len(s) > agentapi.MaxExcerpt+len("...") || strings.Contains(s, fuzzToken) || strings.ContainsAny(s, "\n\r\t\x00") || strings.Contains(s, "  ") {
			t.Errorf("%q gave %q", b, s)
		}
	})
}
