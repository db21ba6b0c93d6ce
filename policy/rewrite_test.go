package policy

import (
	"strings"
	"testing"

	"serai/wire"
)

// sentPath applies what an instance asks for to a path and a query; why says why the
// request was refused, empty if it was not.
func sentPath(o *OfInstance, path, query string) (target, stripped, why string) {
	r := &request{}
	r.head.Path, r.head.Query, r.head.HasQuery = []byte(path), []byte(strings.TrimPrefix(query, "?")), query != ""
	f := &Forward{Request: r, Head: &wire.OutgoingRequest{Target: []byte(path + query)}, Path: r.head.Path, Values: &wire.Values{}}
	ForInstance(o).Forward(f)
	if string(r.head.Path) != path {
		return "what was received is " + string(r.head.Path), "", ""
	}
	return string(f.Head.Target), string(f.Stripped), f.Refused()
}

func TestRewrite(t *testing.T) {
	for _, c := range []struct{ pattern, replacement, path, want string }{
		{"^/v1/(.*)$", "/$1", "/v1/a/b", "/a/b"},
		{"^/v1/(.*)$", "/$1", "/v1/", "/"},
		{"^/v1/(.*)$", "/$1", "/v2/a", "/v2/a"},
		{"^/v1/(.*)$", "/$1", "/v1", "/v1"},
		{"^/v1(/.*)?$", "/api$1", "/v1", "/api"},
		{"^/v1(/.*)?$", "/api$1", "/v1/x", "/api/x"},
		{"^/v1(/.*)?$", "/api$1", "/v11", "/v11"},
		{"^/(?P<user>[^/]+)/posts/([0-9]+)$", "/posts/${2}/of/${user}", "/jo/posts/12", "/posts/12/of/jo"},
		{"^/(a)(b)?(c)$", "/$3$2$1", "/ac", "/ca"},
		{"/old/", "/new/", "/a/old/b/old/c", "/a/new/b/old/c"}, // the first one
		{"/old/", "/new/", "/ald/old", "/ald/old"},
		{"(?i)^/UPPER", "/lower", "/uPPer/X", "/lower/X"},
		{"^/cost$", "/$$1", "/cost", "/$1"},
		{"$", "/end", "/a", "/a/end"},
		{"^", "/begin", "/a", "/begin/a"},
		// Encoded bytes are read, and stay, as they came.
		{"^/v1/(.*)$", "/$1", "/v1/a%2Fb%20%C3%A9", "/a%2Fb%20%C3%A9"},
		{"^/v1/(.*)$", "/%2F$1", "/v1/a", "/%2Fa"},
		{"^/a/b$", "/c", "/a%2Fb", "/a%2Fb"},
		{"^/v1/(.*)$", "/$1", "/v1//evil.test/x", "//evil.test/x"},
		// What is no path.
		{"^/v1/(.*)$", "/$1", "*", "*"},
		{".*", "/x", "*", "*"},
		// Refused, for the reason that follows.
		{"^/v1/(.*)$", "$1", "/v1/a", "! what the route makes of this path is no path"},
		{"^/v1/.*()$", "$1", "/v1/a", "! what the route makes of this path is no path"},
		{"/", "x", "/a", "! what the route makes of this path is no path"},
		{"^/files/(.*)$", "/public/$1", "/files/../secret", "! the path that the route makes of this one has dot segments"},
		{"^/files/(.*)$", "/public/$1", "/files/%2e%2E/secret", "! the path that the route makes of this one has dot segments"},
		{"^/files/(.*)$", "/public/$1", "/files/a%2f..%2f..%2fsecret", "! the path that the route makes of this one has dot segments"},
		{"^/files/(.*)$", "/public/$1", `/files/..\secret`, "! the path that the route makes of this one has dot segments"},
		{"^/files/(.*)$", "/public/$1", "/files/..;a=b/secret", "! the path that the route makes of this one has dot segments"},
		{"^/x(.)/(.*)$", "/$1$1/$2", "/x./a", "! the path that the route makes of this one has dot segments"},
		{"^/x(.*)y(.*)$", "/a/$1$2/b", "/x%2y%45%2e", "/a/%2%45%2e/b"},
		{"^/x(.*)y(.*)$", "/a/$1$2/b", "/x%2ye.", "! the path that the route makes of this one has dot segments"},
		{"^/v1/(.*)$", "/$1$1$1$1", "/v1/" + strings.Repeat("a", 2000), "! the path that the route makes of this one is too long"},
		{"^/v1/(.*)$", "/$1", "/v1/" + strings.Repeat("a", 5000), "! the path is too long to be rewritten"},
		{"^/[a-z]{200}", "/", "/" + strings.Repeat("a", 3000), "! the path is too long to be rewritten"}, // for so large an expression
		{"^/v1/(.*)$", "/$1", "/v2/" + strings.Repeat("a", 5000), "/v2/" + strings.Repeat("a", 5000)},
	} {
		r, err := ParseRewrite(c.pattern, c.replacement)
		if err != nil {
			t.Errorf("%s %s: %v", c.pattern, c.replacement, err)
			continue
		}
		for _, query := range []string{"", "?", "?a=/v1/../b"} {
			got, stripped, why := sentPath(&OfInstance{Rewrite: r}, c.path, query)
			if reason, refused := strings.CutPrefix(c.want, "! "); refused && why == reason {
				continue
			} else if got != c.want+query || stripped != "" || why != "" {
				t.Errorf("%s %s: %.100s%s becomes %.100s without %q, refused for %q; want %.100s", c.pattern, c.replacement, c.path, query, got, stripped, why, c.want)
			}
		}
	}
}

// TestRewriteIsRefused: what cannot be right is refused when the tag is read.
func TestRewriteIsRefused(t *testing.T) {
	for _, c := range []struct{ pattern, replacement, why string }{
		{"^/(a", "/b", "the expression is not one of RE2"},
		{"^/a(?=b)", "/b", "the expression is not one of RE2"},
		{`^/(a)\1`, "/b", "the expression is not one of RE2"},
		{"^/\u00e9", "/b", "the expression contains a byte that no path has"},
		{strings.Repeat("a", 513), "/b", "the expression has more than 512 bytes"},
		{"a{1000}", "/b", "the expression is too large"},
		{"(((a{10}){10}){10})", "/b", "the expression is too large"},
		{strings.Repeat("a{1000}", 70), "/b", "the expression is too large"},
		{"(a{1001})", "/b", "the expression is not one of RE2"},
		{"^/(.*)$", "$1?x=1", "the replacement contains a query or fragment"},
		{"^/(.*)$", "/$1#x", "the replacement contains a query or fragment"},
		{"^/(.*)$", "/a\r\nX: y", "the replacement contains a byte that no path has"},
		{"^/(.*)$", "/\u00e9", "the replacement contains a byte that no path has"},
		{"^/(.*)$", "/a\"", "the replacement contains a byte that no path has"},
		{"^/(.*)$", "/%2$1", "the replacement has a % that is not followed by two"},
		{"^/(.*)$", "/../$1", "the replacement contains a dot segment"},
		{"^/(.*)$", "/$1/%2e%2e", "the replacement contains a dot segment"},
		{"^/(.*)$", "x/$1", "does not begin with a slash"},
		{"^/(.*)$", "", "the replacement is empty"},
		{"^/(.*)$", "/$2", "the replacement has the group"},
		{"^/(.*)$", "/${name}", "the replacement has the group"},
		{"^/(.*)$", "/${-1}", "the replacement has the group"},
		{"^/(.*)$", "/${}", "the replacement has the group"},
		{"^/(.*)$", "/$0", "the replacement has $0"},
		{"^/(.*)$", "/$", "the replacement has a $ that no group follows"},
		{"^/(.*)$", "/$name", "the replacement has a $ that no group follows"},
		{"^/(.*)$", "/$1x", "it is not clear where the group ends"},
		{"^/(.*)$", "/${1", "the replacement has a ${ without its }"},
	} {
		if _, err := ParseRewrite(c.pattern, c.replacement); err == nil || !strings.HasPrefix(err.Error(), c.why) && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%.100s %s: %v, want %q", c.pattern, c.replacement, err, c.why)
		}
	}
}

// TestRewriteLooksForItsPrefixFirst: what every match begins with is known, so that the
// expression need not be run for other paths.
func TestRewriteLooksForItsPrefixFirst(t *testing.T) {
	for pattern, want := range map[string]struct {
		prefix   string
		anchored bool
	}{
		"^/v1/(.*)$":      {"/v1/", true},
		`\A/v1/x+`:        {"/v1/", true},
		"/old/":           {"/old/", false},
		"^/a/b|^/a/c":     {"", false},
		"a|b":             {"", false},
		"(?i)^/v1":        {"", true},
		"^(/v1)/":         {"", true},
		"^/ab*":           {"/a", true},
		"[a-z]+/x":        {"", false},
		"":                {"", false},
		"(?m)^/v1":        {"", false},
		"^":               {"", true},
		`^/v1\.0/(.*)\z`:  {"/v1.0/", true},
		`^/[a]/x`:         {"/a/x", true},
		`^/(?:v1|v2)/(.)`: {"/", true},
	} {
		r, err := ParseRewrite(pattern, "/x")
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
		} else if string(r.prefix) != want.prefix || r.anchored != want.anchored {
			t.Errorf("%s begins with %q, anchored %v; want %q, %v", pattern, r.prefix, r.anchored, want.prefix, want.anchored)
		}
	}
}

// TestPathOrder: strip, then rewrite, then prepend, whatever the order of the tags.
func TestPathOrder(t *testing.T) {
	r, err := ParseRewrite("^/v1/(.*)$", "/$1")
	if err != nil {
		t.Fatal(err)
	}
	all := &OfInstance{Strip: "/api", Rewrite: r, Prepend: "/app"}
	for path, want := range map[string]string{
		"/api/v1/x":  "/app/x without /api",
		"/api":       "/app/ without /api",
		"/v1/x":      "/app/x without ",
		"/x":         "/app/x without ",
		"/api/v1//x": "/app//x without /api",
		"*":          "* without ",
	} {
		target, stripped, why := sentPath(all, path, "")
		if got := target + " without " + stripped; got != want || why != "" {
			t.Errorf("%s is sent as %s, refused for %q; want %s", path, got, why, want)
		}
	}
	for _, path := range []string{"/..", "/a/../../b", "/%2e%2e/b", "/a/..%2fb", "/.", "/a%5c.."} {
		if target, _, why := sentPath(&OfInstance{Prepend: "/app"}, path, ""); why == "" {
			t.Errorf("%s is sent as %s", path, target)
		}
	}
}

// FuzzRewrite: whatever is asked for and comes, the request line is whole: a path that
// begins with a slash and holds no byte that ends it, without a segment that climbs; or
// the request is refused.
func FuzzRewrite(f *testing.F) {
	f.Add("^/v1/(.*)$", "/$1", "/v1/x", "a=b")
	f.Add("/(a)|(?P<n>b)", "/${n}$1%2e", "/..%2f/b?", "")
	f.Add("", "/a$$", "*", "?")
	f.Add("^/x(.)(.*)", "/$1$1$2", "/x./..", "\r\n")
	f.Fuzz(func(t *testing.T, pattern, replacement, path, query string) {
		r, err := ParseRewrite(pattern, replacement)
		if err != nil {
			for i := range len(err.Error()) {
				if b := err.Error()[i]; b < ' ' || b >= 0x7f {
					t.Fatalf("the mistake is not printable: %q", err)
				}
			}
			return
		}
		// Only what the parser of requests lets through reaches a policy.
		var head wire.RequestHead
		if _, err := head.ParseRequest([]byte("GET "+path+"?"+query+" HTTP/1.1\r\nHost: a\r\n\r\n"), wire.DefaultLimits()); err != nil || string(head.Path) != path {
			return
		}
		target, _, why := sentPath(&OfInstance{Rewrite: r, Prepend: "/p"}, path, "?"+query)
		if why != "" {
			return
		}
		var sent wire.RequestHead
		line := "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"
		if n, err := sent.ParseRequest([]byte(line), wire.Limits{Head: 1 << 20, Fields: 1, Target: 1 << 20}); err != nil || n != len(line) {
			t.Fatalf("%q %q makes %q of %q: %v", pattern, replacement, target, path, err)
		}
		if !strings.HasPrefix(string(sent.Path), "/p/") || string(sent.Query) != query {
			t.Fatalf("%q %q makes %q of %q", pattern, replacement, target, path)
		}
	})
}
