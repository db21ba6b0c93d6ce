package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/admin"
	"serai/policy"
	"serai/policy/auth"
	"serai/router"
)

// blockSettings are the attributes of a block by name. Each is one value, unless it is
// among those that are lists.
type blockSettings struct {
	block       *hclsyntax.Block
	values      map[string][]string
	diagnostics hcl.Diagnostics
}

// readSettings reads the attributes of a block that has no others.
func readSettings(block *hclsyntax.Block, names, lists []string) *blockSettings {
	s := &blockSettings{block: block, values: make(map[string][]string)}
	for _, b := range block.Body.Blocks {
		s.diagnostics = append(s.diagnostics, problem(b.DefRange(), "Unknown block", block.Type+" has attributes only"))
	}
	known := slices.Concat(names, lists)
	for _, a := range inOrder(block.Body.Attributes) {
		if !slices.Contains(known, a.Name) {
			s.diagnostics = append(s.diagnostics, problem(a.NameRange, "Unknown setting", fmt.Sprintf("%s has %s%s", block.Type, strings.Join(known, ", "), nearest(a.Name, known))))
			continue
		}
		values, wrong := stringsOf(a)
		s.diagnostics = append(s.diagnostics, wrong...)
		if !wrong.HasErrors() && !slices.Contains(lists, a.Name) && len(values) != 1 {
			s.wrong(a.Name, "wants one value")
			continue
		}
		s.values[a.Name] = values
	}
	return s
}

// wrong notes what is wrong with an attribute.
func (s *blockSettings) wrong(name, why string) {
	at := s.block.DefRange()
	if a := s.block.Body.Attributes[name]; a != nil {
		at = a.Expr.Range()
	}
	s.diagnostics = append(s.diagnostics, problem(at, "Wrong "+s.block.Type, name+" "+why))
}

// text returns the one value of an attribute, empty when it is not given.
func (s *blockSettings) text(name string) string {
	if v := s.values[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// required is text for what must be given.
func (s *blockSettings) required(name string) string {
	v := s.text(name)
	if v == "" && !s.diagnostics.HasErrors() {
		s.wrong(name, "is missing")
	}
	return v
}

func (s *blockSettings) flag(name string) bool {
	v := s.text(name)
	if v != "" && v != "true" && v != "false" {
		s.wrong(name, "wants true or false")
	}
	return v == "true"
}

func (s *blockSettings) number(name string) int {
	v := s.text(name)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		s.wrong(name, "wants a number of at least 1")
	}
	return n
}

func (s *blockSettings) duration(name string) time.Duration {
	v := s.text(name)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		s.wrong(name, "wants a duration such as 500ms, 10s or 2m")
	}
	return d
}

// service reads NAME or NAMESPACE/NAME, and returns the latter, empty when it is not given.
func (s *blockSettings) service(name string) string {
	v := s.text(name)
	if v == "" {
		return ""
	}
	if !strings.Contains(v, "/") {
		v = "default/" + v
	}
	if namespace, service, _ := strings.Cut(v, "/"); !router.IsServiceName(namespace) || !router.IsServiceName(service) {
		s.wrong(name, fmt.Sprintf("is %q, and wants the NAME of a service in namespace default, or NAMESPACE/NAME", v))
	}
	return v
}

// failed adds an error about the block as a whole, or about the attribute that it begins
// with, and reports whether there is any.
func (s *blockSettings) failed(err error) bool {
	if err != nil && !s.diagnostics.HasErrors() {
		at, text := s.block.DefRange(), err.Error()
		name := text[:len(text)-len(strings.TrimLeft(text, "abcdefghijklmnopqrstuvwxyz_"))]
		if a := s.block.Body.Attributes[name]; a != nil {
			at = a.Expr.Range()
		}
		s.diagnostics = append(s.diagnostics, problem(at, "Wrong "+s.block.Type, text))
	}
	return s.diagnostics.HasErrors()
}

// readBasic reads basic { users_file = FILE or users_variable = PATH, realm = TEXT,
// user_field = NAME, keep = BOOL }.
func (n *namedBlocks) readBasic(name string, block *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
	s := readSettings(block, append(secretSettings("users"), "realm", "user_field", "keep"), nil)
	b, err := auth.NewBasic(name, auth.BasicOptions{Realm: s.text("realm"), UserField: s.text("user_field"), Keep: s.flag("keep")}, nil, n.passwords)
	if s.failed(err) {
		return nil, nil, s.diagnostics
	}
	files := n.readSecret(name, s, "users", func(text []byte) (warning string, err error) {
		if text == nil {
			b.SetUsers(nil)
			return "", nil
		}
		users, err := auth.ReadUsers(bytes.NewReader(text))
		if err != nil {
			return "", err
		}
		b.SetUsers(users)
		return weakUsers(b), nil
	})
	if s.failed(nil) {
		return nil, files, s.diagnostics
	}
	return b, files, s.diagnostics
}

// readForward reads forward { url = URL or service = NAME and path = PATH, copy = [FIELD, ...],
// trust_forwarded = BOOL, timeout = DURATION, max_inflight = N }.
func (n *namedBlocks) readForward(name string, block *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
	s := readSettings(block, []string{"url", "service", "path", "trust_forwarded", "timeout", "max_inflight"}, []string{"copy"})
	service := s.service("service")
	switch {
	case service == "" && s.text("url") == "":
		s.required("url or service")
	case service == "" && s.text("path") != "":
		s.wrong("path", "is for a service: a url has its own")
	case service != "" && s.text("url") != "":
		s.wrong("service", "and url are both set: set only one")
	}
	o := auth.ForwardOptions{
		URL: s.text("url"), Service: service, Path: s.text("path"), Ask: n.table.asking(service, n.limits.AuthAnswer), Copy: s.values["copy"], TrustForwarded: s.flag("trust_forwarded"),
		Timeout: s.duration("timeout"), MaxInflight: s.number("max_inflight"), MaxAnswer: n.limits.AuthAnswer, Questions: n.questions,
	}
	if s.failed(nil) {
		return nil, nil, s.diagnostics
	}
	f, err := auth.NewForward(name, o)
	if s.failed(err) {
		return nil, nil, s.diagnostics
	}
	return f, nil, s.diagnostics
}

// authStatus describes the file's auths, and what they share.
func (c *configFile) authStatus() admin.AuthStatus {
	s := admin.AuthStatus{Passwords: c.named.passwords.Status(), Questions: c.named.questions.Status()}
	for _, a := range c.named.auths {
		if w, ok := a.Check.(interface{ Waiting() (now, most int) }); ok {
			now, most := w.Waiting()
			s.Waiting = append(s.Waiting, admin.AuthWaiting{Auth: a.Name, Now: now, Most: most})
		}
	}
	for _, p := range c.named.providersOf() {
		s.TooLong += p.TooLong()
	}
	return s
}

// closeAuths ends the connections of auths, and what they keep, that the next config file, nil for none, does
// not have any more.
func (c *configFile) closeAuths(next *configFile) {
	for _, a := range c.named.auths {
		if next != nil && slices.Contains(next.named.auths, a) {
			continue
		}
		if f, ok := a.Check.(interface{ Close() }); ok {
			f.Close()
		}
	}
}

// weakUsers warns of passwords that are easily found by whoever reads their hashes; empty
// when there are none.
func weakUsers(b *auth.Basic) string {
	if b.Weak() == 0 {
		return ""
	}
	return fmt.Sprintf("%d users have passwords whose hashes are weak (MD5): make them anew with htpasswd -B", b.Weak())
}

// tellWeak logs weakUsers of all auths.
func (c *configFile) tellWeak(logger *slog.Logger) {
	for _, a := range c.named.auths {
		if b, ok := a.Check.(*auth.Basic); ok && b.Weak() > 0 {
			logger.Warn(weakUsers(b), "auth", a.Name)
		}
	}
}
