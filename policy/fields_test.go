package policy

import (
	"strings"
	"testing"

	"serai/wire"
)

// settings parses "NAME: VALUE"s.
func settings(t *testing.T, of Message, all ...string) (list []FieldSetting) {
	t.Helper()
	for _, s := range all {
		setting, err := ParseFieldSetting(of, s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if setting.String() != s {
			t.Errorf("%q is written again as %q", s, setting)
		}
		list = append(list, setting)
	}
	return list
}

// asker is a request whose facts are known.
func asker() *request {
	r := &request{host: "a.test", known: map[Placeholder]string{Client: "192.0.2.7", RequestID: "4711", TLSVersion: "TLSv1.3", SNI: "a.test"}}
	r.head.Path = []byte("/a/b")
	return r
}

func TestRequestFields(t *testing.T) {
	for name, c := range map[string]struct {
		set, remove []string
		sent, want  string
	}{
		"added":            {set: []string{"X-A: 1"}, sent: "B: 2\r\n", want: "B: 2\r\nX-A: 1\r\n"},
		"in place":         {set: []string{"X-A: 1"}, sent: "x-a: 2\r\nB: 2\r\nX-A: 3\r\n", want: "B: 2\r\nX-A: 1\r\n"},
		"of look-alikes":   {set: []string{"X-A: 1"}, remove: []string{"X_User.Id"}, sent: "X_A: 2\r\nx-user-ID: a\r\nX-User_Id: b\r\n", want: "X-A: 1\r\n"},
		"not of others":    {set: []string{"X-A: 1"}, sent: "X-Ab: 2\r\nX-: 1\r\nXxA: 3\r\n", want: "X-Ab: 2\r\nX-: 1\r\nXxA: 3\r\nX-A: 1\r\n"},
		"removed":          {remove: []string{"Cookie", "authorization"}, sent: "cookie: a=b\r\nCookie: c\r\nAuthorization: x\r\nB: 2\r\n", want: "B: 2\r\n"},
		"everything known": {set: []string{"A: {client} {host}{path} {request-id} {tls-version} {sni}"}, want: "A: 192.0.2.7 a.test/a/b 4711 TLSv1.3 a.test\r\n"},
		"braces":           {set: []string{`A: {{"a":{{"b":"{host}"}}`}, want: `A: {"a":{"b":"a.test"}}` + "\r\n"},
		"literal braces":   {set: []string{`A: {{host}`}, want: "A: {host}\r\n"},
		"order":            {set: []string{"B: 1", "A: 2"}, want: "B: 1\r\nA: 2\r\n"},
	} {
		l := ForRoute(&OfRoute{RequestSet: settings(t, RequestMessage, c.set...), RequestRemove: c.remove}, &State{})
		head := &wire.OutgoingRequest{Fields: fieldsOf(c.sent)}
		l.Forward(&Forward{Request: asker(), Head: head, Values: &wire.Values{}})
		if got := lines(head.Fields); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		// Trailers lose what the head loses; those of the answer are another matter.
		trailers, others := fieldsOf(c.sent), fieldsOf(c.sent)
		l.Trailers(RequestMessage, trailers)
		l.Trailers(AnswerMessage, others)
		for _, s := range c.set {
			c.want = strings.Replace(c.want, s+"\r\n", "", 1)
		}
		if got := lines(trailers); c.sent != "" && got != c.want {
			t.Errorf("%s: trailers %q, want %q", name, got, c.want)
		}
		if got := lines(others); got != c.sent {
			t.Errorf("%s: the answer's trailers are %q", name, got)
		}
		// The answer stays as it is.
		answer := &wire.ResponseHead{Fields: fieldsOf(c.sent)}
		l.Answer(&Answer{Request: asker(), Head: answer, Values: &wire.Values{}})
		if got := lines(answer.Fields); got != c.sent {
			t.Errorf("%s: the answer has %q", name, got)
		}
	}
}

func TestResponseFields(t *testing.T) {
	for name, c := range map[string]struct {
		set, remove []string
		sent, want  string
	}{
		"added":               {set: []string{"X-Frame-Options: DENY"}, sent: "B: 2\r\n", want: "B: 2\r\nX-Frame-Options: DENY\r\n"},
		"in place":            {set: []string{"Server: none"}, sent: "server: nginx\r\nB: 2\r\n", want: "B: 2\r\nServer: none\r\n"},
		"names as they are":   {remove: []string{"X-A"}, sent: "X_A: 1\r\nx-a: 2\r\n", want: "X_A: 1\r\n"},
		"the request's ID":    {set: []string{"X-Request-Id: {request-id}"}, want: "X-Request-Id: 4711\r\n"},
		"cookies, not serais": {remove: []string{"Set-Cookie"}, sent: "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", want: "Set-Cookie: stay=v; Path=/; HttpOnly; SameSite=Lax\r\n"},
	} {
		o := &OfRoute{ResponseSet: settings(t, AnswerMessage, c.set...), ResponseRemove: c.remove}
		r := asker()
		if strings.Contains(c.want, "stay") {
			o.Sticky, r.cookie, r.value = "stay", "stay", "v"
		}
		l := ForRoute(o, &State{})
		head := &wire.ResponseHead{Fields: fieldsOf(c.sent)}
		l.Answer(&Answer{Request: r, Head: head, Values: &wire.Values{}})
		if got := lines(head.Fields); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		request := &wire.OutgoingRequest{Fields: fieldsOf(c.sent)}
		l.Forward(&Forward{Request: r, Head: request, Values: &wire.Values{}})
		if got := lines(request.Fields); got != c.sent {
			t.Errorf("%s: the request has %q", name, got)
		}
	}
}

// TestNoFieldIsInjected: whatever a client puts into what a value contains, the field
// ends where its line does.
func TestNoFieldIsInjected(t *testing.T) {
	for sni, want := range map[string]string{
		"a\r\nX-Admin: 1":        "A: [a%0D%0AX-Admin:%201]\r\n",
		"\x00\x7f\xff\t":         "A: [%00%7F%FF%09]\r\n",
		`a"b\c<d>`:               "A: [a%22b%5Cc%3Cd%3E]\r\n",
		"":                       "A: []\r\n",
		strings.Repeat("a", 9e3): "", // left out, and what the client sent with it
	} {
		r := &request{known: map[Placeholder]string{SNI: sni}}
		head := &wire.OutgoingRequest{Fields: fieldsOf("A: of the client\r\n")}
		ForRoute(&OfRoute{RequestSet: settings(t, RequestMessage, "A: [{sni}]")}, &State{}).Forward(&Forward{Request: r, Head: head, Values: &wire.Values{}})
		if got := lines(head.Fields); got != want {
			t.Errorf("%.100q makes %.200q, want %q", sni, got, want)
		}
	}
}

// TestEmptyValueIsNoField: what is not known leaves no field, and no blanks at the ends.
func TestEmptyValueIsNoField(t *testing.T) {
	head := &wire.OutgoingRequest{Fields: fieldsOf("A: of the client\r\n")}
	l := ForRoute(&OfRoute{RequestSet: settings(t, RequestMessage, "A: {sni}", "B: {tls-version} x {sni}", "C: y")}, &State{})
	l.Forward(&Forward{Request: &request{}, Head: head, Values: &wire.Values{}})
	if got := lines(head.Fields); got != "B: x\r\nC: y\r\n" {
		t.Errorf("%q", got)
	}
}

// TestMadeFieldsAreBounded: however often a long path stands in values, a message gets
// so many bytes of it.
func TestMadeFieldsAreBounded(t *testing.T) {
	r := asker()
	r.head.Path = []byte("/" + strings.Repeat("a", 3000))
	all := []string{"Many: " + strings.Repeat("{path}", 600)}
	for _, name := range strings.Split("A B C D E F", " ") {
		all = append(all, name+": {path}")
	}
	head := &wire.OutgoingRequest{}
	values := &wire.Values{}
	ForRoute(&OfRoute{RequestSet: settings(t, RequestMessage, all...)}, &State{}).Forward(&Forward{Request: r, Head: head, Values: values})
	if n := len(lines(head.Fields)); len(head.Fields) != 2 || n > DefaultMade+100 || string(head.Fields[1].Value) != string(r.head.Path) {
		t.Errorf("%d fields of %d bytes", len(head.Fields), n)
	}
}

// TestFieldNames: what frames messages, or is serai's, no route changes.
func TestFieldNames(t *testing.T) {
	const both = `Content-Length Transfer-Encoding TE Trailer Connection Upgrade Keep-Alive HTTP2-Settings Proxy Proxy-Connection
		Proxy-Authorization Proxy-Authenticate Expect Sec-WebSocket-Accept Sec-WebSocket-Key Via X-Serai-Hops X-Serai-Reason x_serai.reason`
	for of, names := range map[Message]string{
		RequestMessage: both + ` Host Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Anything X-Real-Ip X-Request-Id
			X_Forwarded_For Content.Length x_real_ip Transfer_Encoding`,
		AnswerMessage: both + " Date grpc-status Grpc-Message",
	} {
		for name := range strings.FieldsSeq(names) {
			for _, name := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
				if CheckFieldName(of, name) == nil {
					t.Errorf("%s may be removed from messages of kind %d", name, of)
				}
				if _, err := ParseFieldSetting(of, name+": x"); err == nil {
					t.Errorf("%s may be set in messages of kind %d", name, of)
				}
			}
		}
		for _, name := range []string{":authority", ":status", "", "X A", "X\r\nA", "X:A", "\u00c9", "X\x00"} {
			if CheckFieldName(of, name) == nil {
				t.Errorf("%q is a name in messages of kind %d", name, of)
			}
		}
		for _, name := range []string{"Cookie", "Set-Cookie", "Authorization", "X-A", "Server", "Content-Type", "X_Own", "Cache-Control", "X-Client-Cert"} {
			if err := CheckFieldName(of, name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestFieldSettingsAreRefused(t *testing.T) {
	for s, why := range map[string]string{
		"X-A":                           "there is no colon",
		"X-A 1":                         "there is no colon",
		": 1":                           "is not the name of a field",
		"X-A:":                          "the field X-A has no value",
		"X-A: {hots}":                   "the value has an unknown placeholder",
		"X-A: {query}":                  "the value has an unknown placeholder",
		"X-A: {":                        "the value has an unknown placeholder",
		"X-A: {host":                    "the value has an unknown placeholder",
		"X-A: a\r\nX-B: 1":              "a byte that no field should have",
		"X-A: \x00":                     "a byte that no field should have",
		"X-A: caf\u00e9":                "a byte that no field should have",
		"Strict-Transport-Security: no": "is not set as other fields are",
	} {
		if _, err := ParseFieldSetting(AnswerMessage, s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", s, err, why)
		}
	}
}

// FuzzFieldSetting: whatever a tag asks for and a request contains, a field is one line,
// of the name in the tag.
func FuzzFieldSetting(f *testing.F) {
	f.Add("X-A: {sni}{path}", "/a", "b\r\nX-B: 1")
	f.Add("X-A: {{{host}", "/ \x00", "")
	f.Add("X_Forwarded_For: 1", "/", "\xff")
	f.Fuzz(func(t *testing.T, s, path, known string) {
		for _, of := range []Message{RequestMessage, AnswerMessage} {
			setting, err := ParseFieldSetting(of, s)
			if err != nil {
				for i := range len(err.Error()) {
					if b := err.Error()[i]; b < ' ' || b >= 0x7f {
						t.Fatalf("the mistake is not printable: %q", err)
					}
				}
				continue
			}
			if again, err := ParseFieldSetting(of, setting.String()); err != nil || again.String() != setting.String() {
				t.Fatalf("%q is written as %q, which is %v, %v", s, setting, again, err)
			}
			r := &request{host: known, known: map[Placeholder]string{Client: known, RequestID: known, TLSVersion: known, SNI: known}}
			r.head.Path = []byte(path)
			p := compileFieldSettings(of, []FieldSetting{setting})
			var fields []wire.Field
			values := &wire.Values{}
			if of == RequestMessage {
				head := &wire.OutgoingRequest{}
				p.(ForwardPolicy).Forward(&Forward{Request: r, Head: head, Values: values})
				fields = head.Fields
			} else {
				head := &wire.ResponseHead{}
				p.(AnswerPolicy).Answer(&Answer{Request: r, Head: head, Values: values})
				fields = head.Fields
			}
			if len(fields) == 0 {
				continue
			}
			got := &fields[0]
			kind, ok := wire.LowerKind([]byte(strings.ToLower(string(got.Name))))
			if len(fields) > 1 || !wire.CleanValue(got.Value) || !ok || len(got.Value) > len(s)+DefaultMade {
				t.Fatalf("%q makes %q", s, fields)
			}
			switch kind {
			case wire.Other, wire.Cookie, wire.HeadOnly, wire.ProxyOnly:
			case wire.XRequestID, wire.Host, wire.Forwarded, wire.XForwardedFor, wire.XForwardedHost, wire.XForwardedPort, wire.XForwardedPrefix, wire.XForwardedProto, wire.XRealIP, wire.Lookalike:
				if of == RequestMessage {
					t.Fatalf("%q sets a field of kind %d", s, kind)
				}
			case wire.Date:
				if of == AnswerMessage {
					t.Fatalf("%q sets a Date", s)
				}
			default:
				t.Fatalf("%q sets a field of kind %d", s, kind)
			}
		}
	})
}
