package auth

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"serai/policy"
	"serai/wire"
)

// asked is a request as policies see it.
type asked struct {
	head    wire.RequestHead
	client  netip.Addr
	https   bool
	trusted bool
	looped  bool
	gone    chan struct{}
	waits   int
	learned policy.Learned
}

func (a *asked) Received() *wire.RequestHead                               { return &a.head }
func (a *asked) AppendHost(dst []byte) []byte                              { return append(dst, a.head.Host...) }
func (a *asked) OverHTTPS() bool                                           { return a.https }
func (a *asked) AppendPlaceholder(dst []byte, _ policy.Placeholder) []byte { return dst }
func (a *asked) StickyCookie() (_, _ string)                               { return "", "" }
func (a *asked) ClientAddr() netip.Addr                                    { return a.client }
func (a *asked) Learned() *policy.Learned                                  { return &a.learned }
func (a *asked) Wait(f func(gone <-chan struct{}))                         { a.waits++; f(a.gone) }
func (a *asked) Looped() bool                                              { return a.looped }
func (a *asked) FromTrusted() bool                                         { return a.trusted }
func (a *asked) AppendForwarded(dst []wire.Field) []wire.Field {
	return append(append(dst, a.head.Fields...), wire.Field{Name: []byte("X-Serai-Hops"), Value: []byte("1")})
}

// ask makes a request with fields, each a line.
func ask(lines ...string) *asked {
	a := &asked{client: netip.MustParseAddr("192.0.2.1")}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		a.head.Fields = append(a.head.Fields, wire.Field{Name: []byte(name), Value: []byte(value), Kind: wire.KindOf([]byte(name))})
	}
	a.head.Method, a.head.Target, a.head.Host = []byte("GET"), []byte("/a?b"), []byte("a.test")
	return a
}

func basic(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// verdict is what a policy says of a request: "pass" and what it has learned, or the
// status and the reason.
func verdict(p policy.RequestPolicy, a *asked) string {
	reply := &policy.Reply{Values: &wire.Values{}}
	if !p.Request(a, reply) {
		return "pass " + string(wire.AppendFields(nil, a.learned.Forward))
	}
	return fmt.Sprint(reply.Status, " ", reply.Reason)
}

func bcrypted(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func newBasic(t testing.TB, o BasicOptions, lines ...string) *Basic {
	t.Helper()
	users, err := ReadUsers(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBasic("corp", o, users, NewPasswords())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBasic(t *testing.T) {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "secret"), "bob:"+bcrypted(t, "a:b"), "jürgen:"+bcrypted(t, "grün"))
	const passAnn, refused = "pass X-Forwarded-User: ann\r\n", "401 auth-required"
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"right":                  {[]string{basic("ann", "secret")}, passAnn},
		"the scheme in capitals": {[]string{strings.Replace(basic("ann", "secret"), "Basic", "BASIC", 1)}, passAnn},
		"more blanks":            {[]string{strings.Replace(basic("ann", "secret"), "Basic", "Basic  ", 1)}, passAnn},
		"a colon in it":          {[]string{basic("bob", "a:b")}, "pass X-Forwarded-User: bob\r\n"},
		"UTF-8":                  {[]string{basic("jürgen", "grün")}, "pass X-Forwarded-User: jürgen\r\n"},
		"nothing":                {nil, refused},
		"wrong":                  {[]string{basic("ann", "secreT")}, refused},
		"of another":             {[]string{basic("bob", "secret")}, refused},
		"nobody":                 {[]string{basic("eve", "secret")}, refused},
		"another case":           {[]string{basic("Ann", "secret")}, refused},
		"no name":                {[]string{basic("", "secret")}, refused},
		"no password":            {[]string{basic("ann", "")}, refused},
		"no colon":               {[]string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann"))}, refused},
		"no base64":              {[]string{"Authorization: Basic ann:secret"}, refused},
		"another scheme":         {[]string{strings.Replace(basic("ann", "secret"), "Basic", "Bearer", 1)}, refused},
		"no scheme":              {[]string{"Authorization: "}, refused},
		"twice":                  {[]string{basic("ann", "secret"), basic("ann", "secret")}, refused},
		"twice, the first wrong": {[]string{basic("eve", "x"), basic("ann", "secret")}, refused},
		"a line end in the name": {[]string{basic("ann\r\nX-Admin: 1", "secret")}, refused},
		"a zero in the name":     {[]string{basic("ann\x00", "secret")}, refused},
		"long":                   {[]string{basic("ann", strings.Repeat("x", 512))}, refused},
		"as long as may be":      {[]string{basic("ann", strings.Repeat("x", 512-4))}, refused},
		"without padding":        {[]string{"Authorization: Basic " + strings.Repeat("YWFh", 512/3+1)}, refused},
		"very long":              {[]string{basic("ann", strings.Repeat("x", 100_000))}, refused},
	} {
		if got := verdict(b, ask(c.fields...)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	reply := &policy.Reply{Values: &wire.Values{}}
	b.Request(ask(), reply)
	if got := lines(reply.Fields); got != "WWW-Authenticate: Basic realm=\"corp\", charset=\"UTF-8\"\r\n" {
		t.Errorf("the challenge is %q", got)
	}
	if got := b.Explain(); got != "auth: corp asks for a name and a password; 3 users" {
		t.Errorf("explained as %q", got)
	}
}

func lines(fields []wire.Field) string { return string(wire.AppendFields(nil, fields)) }

// TestBasicOptions: what an operator writes cannot end a quoted string or name a field
// that serai sets.
func TestBasicOptions(t *testing.T) {
	b := newBasic(t, BasicOptions{Realm: `a "b" \c`, UserField: "Remote-User", Keep: true}, "ann:"+bcrypted(t, "x"))
	if got := string(b.challenge.Value); got != `Basic realm="a \"b\" \\c", charset="UTF-8"` {
		t.Errorf("the challenge is %s", got)
	}
	if b.Owns().Has([]byte("authorization")) || !b.Owns().Has([]byte("REMOTE_USER")) {
		t.Errorf("it owns %v", b.Owns())
	}
	if b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "x")); !b.Owns().Has([]byte("authorization")) {
		t.Error("Authorization is not removed")
	}
	for _, o := range []BasicOptions{
		{Realm: "a\nb"}, {UserField: "Host"}, {UserField: "X-Forwarded-For"}, {UserField: "X_Forwarded_For"}, {UserField: "Authorization"},
		{UserField: "Content-Length"}, {UserField: "a b"}, {UserField: "X-Serai-Hops"}, {UserField: "Cookie"}, {UserField: "x-request-id"},
	} {
		if _, err := NewBasic("corp", o, b.users.Load(), NewPasswords()); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// TestHashes has all that is accepted, and what is not.
func TestHashes(t *testing.T) {
	salt := []byte("saltsaltsalt")
	phc := func(id, hash string) string {
		return "$" + id + "$v=19$m=256,t=1,p=1$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + hash
	}
	b64 := base64.RawStdEncoding.EncodeToString
	for name, hash := range map[string]string{
		"bcrypt":   bcrypted(t, "mickey"),
		"sha256":   "$5$123456$2hClNSDw3lZ0X/9PFBSI2eCGMOS06v6IbChiRsjy6tA",
		"argon2id": phc("argon2id", b64(argon2.IDKey([]byte("mickey"), salt, 1, 256, 1, 32))),
		"argon2i":  phc("argon2i", b64(argon2.Key([]byte("mickey"), salt, 1, 256, 1, 32))),
	} {
		b := newBasic(t, BasicOptions{}, "u:"+hash)
		if got := verdict(b, ask(basic("u", "mickey"))); !strings.HasPrefix(got, "pass") {
			t.Errorf("%s: the right password: %s", name, got)
		}
		if got := verdict(b, ask(basic("u", "mickex"))); got != "401 auth-required" {
			t.Errorf("%s: a wrong password: %s", name, got)
		}
	}
	good := bcrypted(t, "x")
	for name, file := range map[string]string{
		"plain text":          "u:secret",
		"SHA-1":               "u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
		"DES":                 "u:rl.3StKT.4T8M",
		"salted SHA-1":        "u:{SSHA}xyz",
		"empty hash":          "u:",
		"no colon":            "secret",
		"no name":             ":" + good,
		"control character":   "u\x01:" + good,
		"cut bcrypt":          "u:" + good[:40],
		"bcrypt too costly":   "u:" + strings.Replace(good, "$04$", "$31$", 1),
		"SHA-crypt, no salt":  "u:$6$rounds=5000$" + strings.Repeat("a", 86),
		"SHA-crypt, rounds":   "u:$6$rounds=999999999$salt$" + strings.Repeat("a", 86),
		"SHA-crypt, no hash":  "u:$6$salt$",
		"argon2d":             "u:" + phc("argon2d", b64(make([]byte, 32))),
		"argon2, memory":      "u:" + strings.Replace(phc("argon2id", b64(make([]byte, 32))), "m=256", "m=4194304", 1),
		"argon2, no threads":  "u:" + strings.Replace(phc("argon2id", b64(make([]byte, 32))), "p=1", "p=0", 1),
		"argon2, no time":     "u:" + strings.Replace(phc("argon2id", b64(make([]byte, 32))), "t=1", "t=0", 1),
		"argon2, empty hash":  "u:" + phc("argon2id", ""),
		"argon2, more params": "u:" + strings.Replace(phc("argon2id", b64(make([]byte, 32))), "p=1", "p=1,x=2", 1),
		"twice":               "u:" + good + "\nu:" + good,
		"nobody":              "# nobody\n\n",
		"one bad line":        "a:" + good + "\nu:secret",
	} {
		_, err := ReadUsers(strings.NewReader(file))
		if err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), good) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}

// TestRealHtpasswd reads what htpasswd of Apache makes.
func TestRealHtpasswd(t *testing.T) {
	program, err := exec.LookPath("htpasswd")
	if err != nil {
		t.Skip("needs htpasswd, of apache2-utils")
	}
	for option, accepted := range map[string]bool{"-B": true, "-m": true, "-2": true, "-5": true, "-s": false, "-d": false, "-p": false} {
		file := filepath.Join(t.TempDir(), "users")
		args := []string{"-cb", option, file, "ann", "pass"}
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("htpasswd %v: %v\n%s", args, err, out)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		users, err := ReadUsers(strings.NewReader(string(text)))
		if accepted != (err == nil) {
			t.Errorf("htpasswd %s made %q: accepted %v, %v", option, text, err == nil, err)
		}
		if err != nil {
			continue
		}
		b, err := NewBasic("corp", BasicOptions{}, users, NewPasswords())
		if err != nil {
			t.Fatal(err)
		}
		if got := verdict(b, ask(basic("ann", "pass"))); got != "pass X-Forwarded-User: ann\r\n" {
			t.Errorf("htpasswd %s: %q", option, got)
		}
		if weak := users.Weak == 1; weak != (option == "-m") {
			t.Errorf("htpasswd %s: weak %v", option, weak)
		}
	}
}

// slow is a hash whose computations are counted, and wait until they may go on.
type slow struct {
	password string
	computed atomic.Int64
	under    atomic.Int64
	most     atomic.Int64
	goOn     chan struct{}
}

func (s *slow) MatchesPassword(p string) bool {
	n := s.under.Add(1)
	defer s.under.Add(-1)
	s.computed.Add(1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if s.goOn != nil {
		<-s.goOn
	}
	return p == s.password
}

var _ htpasswd.EncodedPasswd = (*slow)(nil)

// withSlow is a Basic whose only user has that hash.
func withSlow(t *testing.T, s *slow, slots int) *Basic {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "x"))
	u := b.users.Load()
	u.all[0].password = s
	b.passwords.gate.free = slots
	return b
}

// TestVerifiedOnce: a password that was right is not computed again, a wrong one is; what
// changes in the file counts at once.
func TestVerifiedOnce(t *testing.T) {
	s := &slow{password: "right"}
	b := withSlow(t, s, 1)
	for range 5 {
		if got := verdict(b, ask(basic("ann", "right"))); !strings.HasPrefix(got, "pass") {
			t.Fatal(got)
		}
	}
	if n := s.computed.Load(); n != 1 {
		t.Errorf("computed %d times for the right password", n)
	}
	for range 2 {
		if got := verdict(b, ask(basic("ann", "wrong"))); got != "401 auth-required" {
			t.Fatal(got)
		}
	}
	if n := s.computed.Load(); n != 3 {
		t.Errorf("computed %d times, with two wrong ones", n)
	}
	if got := verdict(b, ask(basic("nobody", "right"))); got != "401 auth-required" || s.computed.Load() != 4 {
		t.Errorf("for nobody %s, computed %d times", got, s.computed.Load())
	}
	other, err := ReadUsers(strings.NewReader("ann:" + bcrypted(t, "new")))
	if err != nil {
		t.Fatal(err)
	}
	b, err = NewBasic("corp", BasicOptions{}, other, b.passwords) // as when the file is read again
	if err != nil {
		t.Fatal(err)
	}
	if got := verdict(b, ask(basic("ann", "right"))); got != "401 auth-required" {
		t.Errorf("the old password: %s", got)
	}
	if got := verdict(b, ask(basic("ann", "new"))); !strings.HasPrefix(got, "pass") {
		t.Errorf("the new password: %s", got)
	}
}

// TestOneComputationForMany: a page whose hundred requests come at once costs one.
func TestOneComputationForMany(t *testing.T) {
	s := &slow{password: "right", goOn: make(chan struct{})}
	b := withSlow(t, s, 4)
	var all sync.WaitGroup
	var passed atomic.Int64
	for range 100 {
		all.Go(func() {
			if strings.HasPrefix(verdict(b, ask(basic("ann", "right"))), "pass") {
				passed.Add(1)
			}
		})
	}
	close(s.goOn)
	all.Wait()
	if n := passed.Load(); n != 100 || s.computed.Load() != 1 {
		t.Errorf("%d of 100 passed, %d computed", n, s.computed.Load())
	}
}

// TestRemembered: what is remembered is bounded.
func TestRemembered(t *testing.T) {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "x"))
	const known = 8192
	m := b.passwords.macs.Get().(*mac)
	for i := range 2 * known {
		b.passwords.mu.Lock()
		b.passwords.remember(m.of(nil, fmt.Append(nil, i), nil), testTime)
		b.passwords.mu.Unlock()
	}
	if n := len(b.passwords.verified); n != known {
		t.Errorf("%d are remembered", n)
	}
	last := m.of(nil, fmt.Append(nil, 2*known-1), nil)
	if !b.passwords.known(last, testTime) || b.passwords.known(last, testTime.Add(time.Minute)) {
		t.Error("the last one is not known for just its time")
	}
}
