package chaos

import (
	"errors"
	"fmt"
	"strings"
)

// judgeHead compares a head with what the client sent and the tags say.
func (i *instance) judgeHead(a *arrival, h *head) {
	q, r := a.request, i.rules
	find := func(oracle, format string, args ...any) {
		i.ledger.find(oracle, q.Name, "at %s: %s", i.name, fmt.Sprintf(format, args...))
	}
	if q.Service.Name != i.service.Name {
		find("another's request", "it is for %s", q.Service.Name)
		return
	}
	if miss := r.miss(q, i.ledger.clients[q]); miss != "" {
		find("a request that is no instance's", "serai is to answer it with %s", miss)
	}
	if q.Malformed != "" {
		find("malformed to an instance", "%q", q.Malformed)
	}
	if q.Upgrade && !h.has("Upgrade", "echo") {
		find("upgrades", "the request came without its Upgrade")
	}
	method, rest, _ := strings.Cut(h.first, " ")
	target, _, _ := strings.Cut(rest, " ")
	if want := r.sent(q); method != q.Method || target != want {
		find("another's request", "%s %s came, sent was %s %s", method, target, q.Method, want)
	}
	if prefix, want := h.get("X-Forwarded-Prefix"), r.stripped(q); prefix != want {
		find("policies", "X-Forwarded-Prefix is %q, want %q", prefix, want)
	}
	if name, want := r.set(r.requestSet, q); name != "" && h.get(name) != want {
		find("policies", "%s is %q, want %q", name, h.get(name), want)
	}
	if r.requestRemove != "" && h.get(r.requestRemove) != "" {
		find("policies", "%s is %q, and to be removed", r.requestRemove, h.get(r.requestRemove))
	}
	i.judgeWho(a, h)
	name, _ := hostname(q.Host)
	want := name
	switch r.upstreamHost {
	case "", "preserve":
	case "address":
		want, _ = hostname(i.address())
	default:
		want, _ = hostname(r.upstreamHost)
	}
	if got, _ := hostname(h.get("Host")); got != want {
		find("another host", "Host is %q, want %q", h.get("Host"), want)
	}
	if sni := r.tlsName; i.tls != nil && r.upstreamHost != "address" {
		if sni == "" {
			sni = want
		}
		// Where upstream-host names a host, either is a fair server name.
		if got := strings.ToLower(a.conn.sni); got != sni && got != name {
			find("another host", "the connection was opened for %q, and carries a request for %q", a.conn.sni, sni)
		}
	}
	for _, f := range q.Fields {
		if name, value, _ := strings.Cut(f, ": "); strings.HasPrefix(name, "X-Long") && h.get(name) != strings.TrimSpace(value) {
			find("another's request", "the field %s is another one", name)
		}
	}
}

// hostname is a Host's name in lower case, and its port.
func hostname(s string) (name, port string) {
	name, port, _ = strings.Cut(strings.ToLower(s), ":")
	return name, port
}

// judgeBody compares a body, which ended with err, with what was sent.
func (i *instance) judgeBody(a *arrival, trailer [][2]string, err error) {
	q := a.request
	if a.body.wrong != "" {
		i.ledger.find("a byte that the client did not send", q.Name, "at %s: %s", i.name, a.body.wrong)
	}
	if limit := i.rules.maxBody; limit > 0 && a.body.n > limit {
		i.ledger.find("max-body", q.Name, "%s read %d bytes, allowed are %d", i.name, a.body.n, limit)
	}
	if errors.Is(err, errMalformed) {
		i.ledger.find("malformed to an instance", q.Name, "%v", err)
	}
	if err != nil {
		return
	}
	if a.body.n != int64(q.Size) {
		i.ledger.find("a cut request looks whole", q.Name, "%s read %d of %d bytes and a clean end", i.name, a.body.n, q.Size)
	}
	if q.Trailer && a.body.wrong == "" {
		want := fmt.Sprintf("%x", q.ID)
		if len(trailer) != 1 || trailer[0][1] != want {
			i.ledger.find("trailers", q.Name, "at %s: %q, sent was X-Trailer: %s", i.name, trailer, want)
		}
	}
}
