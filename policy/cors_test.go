package policy

import (
	"strings"
	"testing"
	"time"

	"serai/wire"
)

// fieldsOf reads fields as HTTP/1 has them.
func fieldsOf(text string) (fields []wire.Field) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		f := field(name, value)
		f.Kind = wire.KindOf(f.Name)
		fields = append(fields, f)
	}
	return fields
}

func corsOf(origins string, more ...func(*CORS)) *List {
	c := &CORS{Origins: strings.Split(origins, ","), Methods: []string{"GET", "HEAD", "POST"}, MaxAge: -1}
	for _, set := range more {
		set(c)
	}
	return ForRoute(&OfRoute{CORS: c}, &State{})
}

func withCredentials(c *CORS) { c.Credentials = true }

func TestCORSOrigins(t *testing.T) {
	for _, c := range []struct {
		origins       string
		matches, fail string
	}{
		{"https://a.example.org", "https://a.example.org",
			"http://a.example.org https://a.example.org:8443 https://a.example.org:443 https://b.example.org https://a.example.org.evil.test https://evil.test/https://a.example.org " +
				"https://aa.example.org null https://A.example.org https://a.example.org/ https://a.example.org. a.example.org https://a.example.org,https://a.example.org"},
		{"https://a.example.org:8443,http://localhost:3000", "https://a.example.org:8443 http://localhost:3000", "https://a.example.org http://localhost http://localhost:30000"},
		{"https://*.example.org", "https://a.example.org https://a-1_2.example.org",
			"https://example.org https://.example.org https://a.b.example.org http://a.example.org https://a.example.org:8443 https://a.example.org.evil.test https://evil.test?.example.org https://evil.test/.example.org https://evil.test:1.example.org https://*.example.org https://a\x00.example.org"},
		{"https://*.example.org:8443", "https://a.example.org:8443", "https://a.example.org https://a.example.org:84433"},
		{"null", "null", "https://null Null"},
		{"https://a.example.org,null", "null https://a.example.org", "*"},
		{"app://one", "app://one", "app://one.two app://on"},
	} {
		l := corsOf(c.origins, withCredentials)
		answer := func(origin string) string {
			r := &request{}
			r.head.Method, r.head.Fields = []byte("GET"), []wire.Field{field("Origin", origin)}
			if l.Request(r, &Reply{Values: &wire.Values{}}) {
				t.Errorf("%s: a simple request of %s is answered", c.origins, origin)
			}
			h := &wire.ResponseHead{Status: 200}
			l.Answer(&Answer{Request: r, Head: h, Values: &wire.Values{}})
			return lines(h.Fields)
		}
		for origin := range strings.FieldsSeq(c.matches) {
			if got, want := answer(origin), "Vary: Origin\r\nAccess-Control-Allow-Origin: "+origin+"\r\nAccess-Control-Allow-Credentials: true\r\n"; got != want {
				t.Errorf("%s: to %s: %q, want %q", c.origins, origin, got, want)
			}
		}
		for origin := range strings.FieldsSeq(c.fail) {
			if got := answer(origin); got != "Vary: Origin\r\n" {
				t.Errorf("%s: to %s: %q", c.origins, origin, got)
			}
		}
	}
}

func TestCORSAnswers(t *testing.T) {
	const theirs = "Access-Control-Allow-Origin: https://evil.test\nACCESS-CONTROL-ALLOW-CREDENTIALS: true\nAccess-Control-Whatever: 1\n"
	const allowed = "Access-Control-Allow-Origin: https://a.example.org\n"
	expose := func(c *CORS) { c.Expose = []string{"x-one", "x-two"} }
	for name, c := range map[string]struct {
		list       *List
		origin     string // lines
		answer     string
		own        bool
		status     int
		want, then string
	}{
		"the instance's own":      {list: corsOf("https://a.example.org"), origin: "https://a.example.org", answer: theirs + "X: 1\n", want: "X: 1\nVary: Origin\n" + allowed},
		"of another origin":       {list: corsOf("https://a.example.org"), origin: "https://b.example.org", answer: theirs, want: "Vary: Origin\n"},
		"without an origin":       {list: corsOf("https://a.example.org"), answer: theirs, want: "Vary: Origin\n"},
		"two origins":             {list: corsOf("https://a.example.org"), origin: "https://a.example.org\nOrigin: https://a.example.org", want: "Vary: Origin\n"},
		"exposed":                 {list: corsOf("https://a.example.org", expose), origin: "https://a.example.org", want: "Vary: Origin\n" + allowed + "Access-Control-Expose-Headers: x-one, x-two\n"},
		"exposed, but not to":     {list: corsOf("https://a.example.org", expose), origin: "https://b.example.org", want: "Vary: Origin\n"},
		"serai's own":             {list: corsOf("https://a.example.org"), origin: "https://a.example.org", own: true, status: 502, want: "Vary: Origin\n" + allowed},
		"an auth service's":       {list: corsOf("https://a.example.org", withCredentials), origin: "https://a.example.org", own: true, status: 401, answer: theirs, want: "Vary: Origin\n" + allowed + "Access-Control-Allow-Credentials: true\n"},
		"an auth service's, to":   {list: corsOf("https://a.example.org"), origin: "https://b.example.org", own: true, status: 302, answer: theirs, want: "Vary: Origin\n"},
		"all":                     {list: corsOf("*", expose), origin: "https://b.example.org", answer: theirs, want: "Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: x-one, x-two\n"},
		"all, without one":        {list: corsOf("*"), want: "Access-Control-Allow-Origin: *\n"},
		"all keeps Vary":          {list: corsOf("*"), answer: "Vary: Cookie\n", want: "Vary: Cookie\nAccess-Control-Allow-Origin: *\n"},
		"vary is there":           {list: corsOf("https://a.example.org"), answer: "vary: Accept-Encoding , oRigin\n", want: "vary: Accept-Encoding , oRigin\n"},
		"vary is elsewhere":       {list: corsOf("https://a.example.org"), answer: "Vary: A\nVary: B,Origin\n", want: "Vary: A\nVary: B,Origin\n"},
		"vary on all":             {list: corsOf("https://a.example.org"), answer: "Vary: *\n", want: "Vary: *\n"},
		"vary on something":       {list: corsOf("https://a.example.org"), answer: "Vary: Accept-Encoding\n", want: "Vary: Accept-Encoding\nVary: Origin\n"},
		"vary on something alike": {list: corsOf("https://a.example.org"), answer: "Vary: X-Origin, Originx\n", want: "Vary: X-Origin, Originx\nVary: Origin\n"},
		"a tunnel":                {list: corsOf("https://a.example.org"), origin: "https://a.example.org", status: 101, answer: "Upgrade: websocket\n", want: "Upgrade: websocket\n"},
	} {
		r := &request{}
		r.head.Method = []byte("GET")
		if c.origin != "" {
			r.head.Fields = fieldsOf("Origin: " + c.origin)
		}
		h := &wire.ResponseHead{Status: c.status, Fields: fieldsOf(c.answer)}
		c.list.Answer(&Answer{Request: r, Head: h, Own: c.own, Values: &wire.Values{}})
		if got := strings.ReplaceAll(lines(h.Fields), "\r\n", "\n"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func TestCORSPreflight(t *testing.T) {
	const origin = "Origin: https://a.example.org\n"
	some := func(c *CORS) {
		c.Methods, c.Headers, c.MaxAge, c.Expose = []string{"PUT"}, []string{"content-type", "x-own"}, 10*time.Minute, []string{"x-own"}
	}
	every := func(c *CORS) { c.Methods, c.Headers = []string{"*"}, []string{"*"} }
	const yes = "204 cors-preflight"
	const no = "403 cors-denied"
	for name, c := range map[string]struct {
		list   *List
		method string
		fields string
		want   string // status and reason, empty where the request goes on
		sent   string
	}{
		"allowed":                {corsOf("https://a.example.org", some), "OPTIONS", origin + "Access-Control-Request-Method: PUT\nAccess-Control-Request-Headers: Content-Type,x-own\n", yes, "Access-Control-Allow-Methods: PUT\nAccess-Control-Allow-Headers: content-type, x-own\nAccess-Control-Max-Age: 600\nVary: Origin\nAccess-Control-Allow-Origin: https://a.example.org\n"},
		"by default":             {corsOf("https://a.example.org"), "OPTIONS", origin + "Access-Control-Request-Method: POST\n", yes, "Access-Control-Allow-Methods: GET, HEAD, POST\nVary: Origin\nAccess-Control-Allow-Origin: https://a.example.org\n"},
		"another method":         {corsOf("https://a.example.org", some), "OPTIONS", origin + "Access-Control-Request-Method: DELETE\n", no, "Vary: Origin\nAccess-Control-Allow-Origin: https://a.example.org\n"},
		"a method in lower case": {corsOf("https://a.example.org", some), "OPTIONS", origin + "Access-Control-Request-Method: put\n", no, "*"},
		"another field":          {corsOf("https://a.example.org", some), "OPTIONS", origin + "Access-Control-Request-Method: PUT\nAccess-Control-Request-Headers: x-own, x-other\n", no, "*"},
		"another field, apart":   {corsOf("https://a.example.org", some), "OPTIONS", origin + "Access-Control-Request-Method: PUT\nAccess-Control-Request-Headers: x-own\nAccess-Control-Request-Headers: x-other\n", no, "*"},
		"another origin":         {corsOf("https://a.example.org", some), "OPTIONS", "Origin: https://a.example.org.evil.test\nAccess-Control-Request-Method: PUT\n", no, "Vary: Origin\n"},
		"null":                   {corsOf("https://a.example.org", some), "OPTIONS", "Origin: null\nAccess-Control-Request-Method: PUT\n", no, "Vary: Origin\n"},
		"two origins":            {corsOf("https://a.example.org", some), "OPTIONS", origin + origin + "Access-Control-Request-Method: PUT\n", no, "Vary: Origin\n"},
		"credentials":            {corsOf("https://a.example.org", withCredentials), "OPTIONS", origin + "Access-Control-Request-Method: GET\n", yes, "Access-Control-Allow-Methods: GET, HEAD, POST\nVary: Origin\nAccess-Control-Allow-Origin: https://a.example.org\nAccess-Control-Allow-Credentials: true\n"},
		"everything":             {corsOf("*", every), "OPTIONS", origin + "Access-Control-Request-Method: PATCH\nAccess-Control-Request-Headers: x-any\n", yes, "Access-Control-Allow-Methods: *\nAccess-Control-Allow-Headers: *\nAccess-Control-Allow-Origin: *\n"},
		"everything but":         {corsOf("*", every), "OPTIONS", origin + "Access-Control-Request-Method: PATCH\nAccess-Control-Request-Headers: Authorization\n", no, "Access-Control-Allow-Origin: *\n"},
		"no OPTIONS":             {corsOf("https://a.example.org"), "GET", origin + "Access-Control-Request-Method: GET\n", "", ""},
		"OPTIONS of no script":   {corsOf("https://a.example.org"), "OPTIONS", "Access-Control-Request-Method: GET\n", "", ""},
		"OPTIONS of a script":    {corsOf("https://a.example.org"), "OPTIONS", origin, "", ""},
	} {
		r := &request{}
		r.head.Method, r.head.Fields = []byte(c.method), fieldsOf(c.fields)
		reply := &Reply{Values: &wire.Values{}}
		answered := c.list.Request(r, reply)
		if !answered {
			if c.want != "" {
				t.Errorf("%s: is not answered", name)
			}
			continue
		}
		if got := strings.TrimSpace(strings.Join([]string{map[int]string{204: "204", 403: "403"}[reply.Status], reply.Reason}, " ")); got != c.want || (reply.Detail == "") != (reply.Status == 204) {
			t.Errorf("%s: answered %+v, want %s", name, reply, c.want)
		}
		h := &wire.ResponseHead{Status: reply.Status, Fields: reply.Fields}
		c.list.Answer(&Answer{Request: r, Head: h, Own: true, Values: &wire.Values{}})
		if got := strings.ReplaceAll(lines(h.Fields), "\r\n", "\n"); c.sent != "*" && got != c.sent {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.sent)
		}
	}
}

func TestCORSExplained(t *testing.T) {
	for want, l := range map[string]*List{
		"cors: preflights are answered here; scripts of https://a.example.org, null may read answers, and send credentials; they may use GET, HEAD, POST": corsOf("https://a.example.org,null", withCredentials),
		"cors: preflights are answered here; scripts of every origin may read answers; they may use GET, HEAD, POST":                                      corsOf("*"),
	} {
		if got := Explain(l, nil); len(got) != 1 || got[0] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
