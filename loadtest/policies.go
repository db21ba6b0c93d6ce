package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"serai/router"
)

// What policies cost: the same rule in serai, nginx and HAProxy, for a host of its own, in
// processes that have all of these hosts and no others.
//
// Each does what it can do best. A password is compared with a bcrypt hash by serai, which
// remembers for a minute that it was right; nginx would compute the hash for each request, and
// HAProxy too, so both compare plain text. Debian's HAProxy compresses with libslz, which is
// made for speed: its answers are larger than those of the others.

// rule is a policy that is compared.
type rule struct {
	host string
	// needs is the key that serai must know, empty for one that old builds have, too.
	needs string
	// from is an address that is not let in, refused the status that it then gets, as do
	// requests without the fields; 0 if nobody is refused.
	from    string
	refused int
	// lacking are the proxies that cannot apply it.
	lacking []string
	// marks is a field line of an answer to which the rule was applied; empty if the
	// answer does not show it.
	marks string
}

// plainHost has no policy.
const plainHost = "plain.loadtest"

// The password of the one user.
const loadUser, loadPassword = "ann", "a password of some length"

// rateClients are how many clients are told apart: more than one request in six seconds
// of one of them, beyond a thousand, is refused, so that all of them are remembered and
// none is.
const rateClients = 100_000

// policyBenches are the scenarios with policies.
func policyBenches() []bench {
	login := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(loadUser+":"+loadPassword))
	all := []bench{
		{name: "policies: none", path: "small", ask: ask{conns: 64}, rule: &rule{host: plainHost}},
		{name: "policies: 1,000 networks are allowed", path: "small", ask: ask{conns: 64}, target: 1.0, rule: &rule{host: "allow.loadtest", from: "127.0.0.2", refused: 403}},
		{name: "policies: a field of each message", path: "small", ask: ask{conns: 64}, target: 1.0, rule: &rule{host: "fields.loadtest", marks: "X-Policy: loadtest"}},
		{name: "policies: a rate for each of 100,000 clients", path: "small", ask: ask{conns: 64, clients: rateClients}, target: 1.0, rule: &rule{host: "rate.loadtest"}},
		{name: "policies: passwords", path: "small", ask: ask{conns: 64, fields: []string{login}}, target: 1.0, rule: &rule{host: "basic.loadtest", refused: 401}},
		{name: "policies: gzip of 64 KiB of JSON", path: "json", ask: ask{conns: 64, fields: []string{"Accept-Encoding: gzip"}}, target: 1.0,
			rule: &rule{host: "gzip.loadtest", needs: "compress", marks: "Content-Encoding: gzip"}},
		{name: "policies: zstd of 64 KiB of JSON", path: "json", ask: ask{conns: 64, fields: []string{"Accept-Encoding: zstd"}},
			rule: &rule{host: "zstd.loadtest", needs: "compress", marks: "Content-Encoding: zstd", lacking: []string{"nginx", "haproxy"}}},
	}
	return slices.DeleteFunc(all, func(b bench) bool { return !known(b.rule.needs) })
}

// known reports whether serai has a key.
func known(key string) bool {
	return key == "" || slices.ContainsFunc(router.Keys(), func(k router.Key) bool { return k.Name == key })
}

// policySetting is what the configurations of the hosts with policies are made from.
type policySetting struct {
	Dir      string
	Networks []string
	// User, Password and Hash are of the one user.
	User, Password, Hash string
	Compress             bool // serai can
}

func (s *policySetting) file(name string) string { return filepath.Join(s.Dir, name) }

// newPolicySetting writes the files that all proxies share.
func newPolicySetting(dir string) (*policySetting, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(loadPassword), bcrypt.DefaultCost)
	if err != nil {
		return nil, err
	}
	s := &policySetting{Dir: dir, User: loadUser, Password: loadPassword, Hash: string(hash), Compress: known("compress")}
	// The same in each run. The last one has the address that asks.
	random := rand.New(rand.NewPCG(1, 1))
	taken := make(map[string]bool)
	for len(s.Networks) < 999 {
		bits := 12 + random.IntN(17)
		address := random.Uint32() &^ (1<<(32-bits) - 1)
		n := fmt.Sprintf("%d.%d.%d.%d/%d", address>>24, address>>16&255, address>>8&255, address&255, bits)
		if _, of, err := net.ParseCIDR(n); err != nil || of.Contains(net.IPv4(127, 0, 0, 1)) || of.Contains(net.IPv4(127, 0, 0, 2)) || address>>24 == 0 || taken[n] {
			continue
		}
		taken[n] = true
		s.Networks = append(s.Networks, n)
	}
	s.Networks = append(s.Networks, "127.0.0.1/32")
	for name, text := range map[string]string{
		"serai.hcl": fmt.Sprintf("policy \"office\" {\n  allow = [\"%s\"]\n}\n\nauth \"staff\" {\n  basic {\n    users_file = %q\n  }\n}\n",
			strings.Join(s.Networks, `", "`), s.file("users")),
		"users":       s.User + ":" + s.Hash + "\n",
		"users.plain": s.User + ":{PLAIN}" + s.Password + "\n",
		"networks":    strings.Join(s.Networks, "\n") + "\n",
	} {
		if err := os.WriteFile(s.file(name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// comparePolicies measures the scenarios with policies.
func (c *compareCommand) comparePolicies(ctx context.Context, kinds []found, s setting, list []bench, r *report) error {
	dir, err := os.MkdirTemp("", "loadtest-policies")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's workers are nobody
		return err
	}
	if s.Policies, err = newPolicySetting(dir); err != nil {
		return err
	}
	able := slices.DeleteFunc(slices.Clone(kinds), func(f found) bool { return !f.kind.rules })
	return c.measureAll(ctx, able, s, list, r)
}

// findUnable records the scenarios whose rule the proxy does not apply: an old build of
// serai without the policy, or an nginx that lacks a module.
func (p *peer) findUnable(list []bench) {
	p.unable = make(map[string]bool)
	for i := range list {
		b := &list[i]
		if b.rule == nil {
			continue
		}
		if err := p.applies(b); err != nil {
			p.unable[b.name] = true
			fmt.Fprintf(os.Stderr, "%s does not take part in %q: %v\n", p.kind.name, b.name, err)
		}
	}
}

// applies reports why the rule of a scenario does not seem to be applied.
func (p *peer) applies(b *bench) error {
	status, head, err := askOnce(p.setting.Plain, b, "127.0.0.1", b.ask.fields)
	switch {
	case err != nil:
		return err
	case status != 200:
		return fmt.Errorf("it is answered %d", status)
	case b.rule.marks != "" && !strings.Contains(strings.ToLower(head), strings.ToLower("\r\n"+b.rule.marks+"\r\n")):
		return fmt.Errorf("the answer has no %s", b.rule.marks)
	case b.rule.refused == 0:
		return nil
	}
	from := b.rule.from
	if from == "" {
		from = "127.0.0.1"
	}
	if status, _, err = askOnce(p.setting.Plain, b, from, nil); err == nil && status != b.rule.refused {
		err = fmt.Errorf("who is to be refused is answered %d", status)
	}
	return err
}

// askOnce asks over a connection from an address, and returns the head of the answer.
func askOnce(address string, b *bench, from string, fields []string) (status int, head string, err error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	lines := append([]string{"GET /" + b.path + " HTTP/1.1", "Host: " + b.rule.host, "Connection: close"}, fields...)
	if b.ask.clients > 0 {
		lines = append(lines, "X-Client: c0")
	}
	if _, err := fmt.Fprint(c, strings.Join(lines, "\r\n"), "\r\n\r\n"); err != nil {
		return 0, "", err
	}
	var all []byte
	for buffer := make([]byte, 4096); !bytes.Contains(all, []byte("\r\n\r\n")); {
		n, err := c.Read(buffer)
		if all = append(all, buffer[:n]...); err != nil {
			break
		}
	}
	before, _, _ := strings.Cut(string(all), "\r\n\r\n")
	head = before + "\r\n"
	if n, _ := fmt.Sscanf(head, "HTTP/1.1 %d ", &status); n != 1 {
		return 0, "", fmt.Errorf("the answer begins with %.60q", head)
	}
	return status, head, nil
}

// jsonDocument is a document of that many bytes at most, as an API lists things: the same in
// each run.
func jsonDocument(size int) []byte {
	type thing struct {
		ID      string    `json:"id"`
		Name    string    `json:"name"`
		Created time.Time `json:"created_at"`
		Price   float64   `json:"price"`
		Stock   int       `json:"in_stock"`
		Tags    []string  `json:"tags"`
		Active  bool      `json:"active"`
	}
	random := rand.New(rand.NewPCG(2, 2))
	words := strings.Fields("red green blue small large light heavy round flat cheap fine wooden steel garden kitchen office table chair lamp shelf")
	word := func() string { return words[random.IntN(len(words))] }
	document := []byte("[")
	for {
		one, _ := json.Marshal(thing{
			ID: fmt.Sprintf("%08x-%04x", random.Uint32(), random.IntN(1<<16)), Name: word() + " " + word() + " " + word(),
			Created: time.Unix(1_700_000_000+random.Int64N(50_000_000), 0).UTC(), Price: float64(random.IntN(100_000)) / 100,
			Stock: random.IntN(1000), Tags: []string{word(), word()}, Active: random.IntN(2) == 0,
		})
		if len(document)+len(one)+2 > size {
			return append(document[:len(document)-1], ']')
		}
		document = append(append(document, one...), ',')
	}
}
