package main

import (
	"encoding/base64"
	"fmt"
	"strings"
)

func guardReports() map[string][]guardReport {
	return map[string][]guardReport{
		"passwords": passwordReports(), "services": serviceReports(), "lists": listReports(), "cors": corsReports(), "paths": pathReports(), "fields": fieldChangeReports(), "redirects": redirectReports(), "2026": guardReportsOf2026(),
	}
}

// with is a request for a host with more fields.
func with(host string, lines ...string) string {
	return to(host) + strings.Join(lines, "\n") + "\n\n"
}

func basicField(scheme, blank, text string) string {
	return "Authorization: " + scheme + blank + base64.StdEncoding.EncodeToString([]byte(text))
}

const (
	refusedLogin = "401 auth-required, on"
	notCached    = "Cache-Control: no-store\n"
)

// Passwords.
func passwordReports() []guardReport {
	ann := login("ann", "open-sesame")
	no := func(name string, lines ...string) guardReport {
		return guardReport{report: report{name: name, send: with("basic.example.org", lines...), want: refusedLogin, seen: "-", got: "WWW-Authenticate: Basic realm=\"staff\"|" + notCached}}
	}
	yes := func(name, user string, lines ...string) guardReport {
		return guardReport{report: report{name: name, send: with("basic.example.org", lines...), want: "200, on", seen: "X-Forwarded-User: " + user + "\n|!Authorization|!authorization"}}
	}
	cases := []guardReport{
		no("none", "X: y"),
		no("empty", "Authorization:"),
		no("scheme alone", "Authorization: Basic"),
		no("scheme and blank", "Authorization: Basic "),
		no("no colon", basicField("Basic", " ", "annopen-sesame")),
		no("no name", basicField("Basic", " ", ":open-sesame")),
		no("no password", basicField("Basic", " ", "ann:")),
		no("colon alone", basicField("Basic", " ", ":")),
		no("another scheme", basicField("Bearer", " ", "ann:open-sesame")),
		no("a scheme that begins so", basicField("BasicX", " ", "ann:open-sesame")),
		no("no blank", basicField("Basic", "", "ann:open-sesame")),
		no("a tab for a blank", basicField("Basic", "\t", "ann:open-sesame")),
		no("not encoded", "Authorization: Basic ann:open-sesame"),
		no("no padding", strings.TrimRight(login("bob", "b"), "=")),
		no("more behind it", ann+" x"),
		no("a list", ann+", Basic eDp5"),
		no("parameters", ann+";charset=utf-8"),
		no("twice", ann, ann),
		no("twice, with a wrong one first", login("ann", "x"), ann),
		no("twice, with a wrong one last", ann, login("ann", "x")),
		no("twice, by an underscore", ann, "Authorization_: x", "authorization: Basic x"),
		no("in another case of the name", login("Ann", "open-sesame")),
		no("in another case of the password", login("ann", "Open-sesame")),
		no("a blank behind", login("ann", "open-sesame ")),
		no("a NUL behind", login("ann", "open-sesame\x00")),
		no("a NUL behind the name", login("ann\x00", "open-sesame")),
		no("a line end behind", login("ann", "open-sesame\n")),
		no("a colon behind", login("ann", "open-sesame:")),
		no("a user of the file's syntax", login("ann:$2a$", "x")),
		no("a comment", login("#ann", "open-sesame")),
		no("as another field", "Proxy-"+ann),
		no("as X-Authorization", "X-"+ann),
		no("as WWW-Authenticate", strings.Replace(ann, "Authorization", "WWW-Authenticate", 1)),
		no("in a cookie", "Cookie: "+strings.Replace(ann, ": ", "=", 1)),
		no("as what is told", "X-Forwarded-User: ann"),
		no("as what is told, in all spellings", "X_Forwarded_User: ann", "x-forwarded_user: ann", "X.Forwarded.User: ann", "REMOTE_USER: ann", "Remote-User: ann"),
		no("600 bytes", login("ann", strings.Repeat("x", 600))),
		no("30 kB", login("ann", strings.Repeat("x", 30000))),
		no("hidden by Connection", "Connection: Authorization", "Authorization: Basic x"),
		no("the cost of a hash of nobody", login("nobody", "open-sesame")),
		yes("right", "ann", ann),
		yes("scheme in lower case", "ann", basicField("basic", " ", "ann:open-sesame")),
		yes("scheme in upper case", "ann", basicField("BASIC", " ", "ann:open-sesame")),
		yes("three blanks", "ann", basicField("Basic", "   ", "ann:open-sesame")),
		yes("blanks behind", "ann", ann+"  "),
		yes("field in upper case", "ann", strings.ToUpper(ann[:13])+ann[13:]),
		yes("a password with a colon", "col", login("col", "a:b")),
		yes("a name with a blank", "c d", login("c d", "x")),
		yes("UTF-8", "ünï", login("ünï", "ç")),
		yes("named by Connection", "ann", "Connection: Authorization", ann),
		yes("what is told, named by Connection", "ann", "Connection: X-Forwarded-User, close-not", ann),
		yes("what is told, said by the client", "ann", ann, "X-Forwarded-User: root", "X_Forwarded_User: root", "x-forwarded.user: root", "X-Forwarded-User : root"[:16]+": root"),
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get", "HACK", "PRI"} {
		length := ""
		if method == "POST" || method == "PUT" || method == "PATCH" {
			length = "Content-Length: 3\n"
		}
		body := strings.Repeat("abc", len(length)/18)
		cases = append(cases, guardReport{report: report{name: "no way around it by " + method, send: method + " / HTTP/1.1\nHost: basic.example.org\n" + length + "\n" + body, want: refusedLogin, seen: "-"}})
	}
	return append(cases,
		guardReport{report: report{name: "OPTIONS of a preflight without cors", send: "OPTIONS / HTTP/1.1\nHost: basic.example.org\nOrigin: https://app.example.org\nAccess-Control-Request-Method: GET\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "OPTIONS *", send: "OPTIONS * HTTP/1.1\nHost: basic.example.org\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "HTTP/1.0", send: "GET / HTTP/1.0\nHost: basic.example.org\n\n", want: "401 auth-required, end", seen: "-"}},
		guardReport{report: report{name: "absolute form", send: "GET http://basic.example.org/ HTTP/1.1\nHost: web.example.org\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "absolute form with a user", send: "GET http://ann:open-sesame@basic.example.org/ HTTP/1.1\nHost: basic.example.org\n\n", want: "400 bad-host, end", seen: "-"}},
		guardReport{report: report{name: "host in upper case with a dot and a port", send: with("BASIC.example.org.:443"), want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "WebSocket", send: to("basic.example.org") + websocket + "\n", want: "401 auth-required, end", seen: "-"}},
		guardReport{report: report{name: "WebSocket with a login", send: to("basic.example.org") + ann + "\n" + websocket + "\n", alone: true, answer: switched + closes, want: `101, "hello"`, seen: "X-Forwarded-User: ann\n|!Authorization"}},
		guardReport{report: report{name: "large body", send: "POST / HTTP/1.1\nHost: basic.example.org\nContent-Length: 9999999\n\nabc", want: "401 auth-required, end", seen: "-"}},
		guardReport{report: report{name: "body in chunks", send: "POST / HTTP/1.1\nHost: basic.example.org\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "body that waits for 100", send: "POST / HTTP/1.1\nHost: basic.example.org\nContent-Length: 3\nExpect: 100-continue\n\n", alone: true, want: "401 auth-required, end", seen: "-", got: "!100 Continue"}},
		guardReport{report: report{name: "trailers", send: "POST / HTTP/1.1\nHost: basic.example.org\nTransfer-Encoding: chunked\nTrailer: Authorization, X-Forwarded-User\n" + ann + "\n\n3\nabc\n0\nX-Forwarded-User: root\nAuthorization: Basic x\nX_Forwarded_User: root\nX-Sum: 1\n\n", want: "200, on", seen: "X-Forwarded-User: ann\n|!root|!Basic x|X-Sum: 1\n|!Trailer: Auth"}},
		guardReport{report: report{name: "the second request of a connection", send: with("basic.example.org", ann) + with("basic.example.org"), want: "200, 401 auth-required, on", seen: "!GET / HTTP/1.1\nHost: basic.example.org\nX-Forwarded-For: 127.0.0.1\n"}},
		guardReport{report: report{name: "an instance's own 401", send: with("basic.example.org", ann), answer: "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Digest x\nContent-Length: 0\n\n", want: "401, on", got: "WWW-Authenticate: Digest x\n|!Basic realm"}},
		guardReport{report: report{name: "asked for JSON", send: with("basic.example.org", "Accept: application/json"), want: refusedLogin, got: "\"reason\":\"auth-required\""}},
		guardReport{report: report{name: "credentials that the instance gets, too", send: with("keep.example.org", ann, "Remote-User: root", "REMOTE_USER: root"), want: "200, on", seen: ann + "\n|Remote-User: ann\n|!root"}},
		guardReport{report: report{name: "ready path", send: "GET /.serai/ready HTTP/1.1\nHost: basic.example.org\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "challenge path", send: "GET /.well-known/acme-challenge/x HTTP/1.1\nHost: basic.example.org\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "favicon, robots", send: "GET /favicon.ico HTTP/1.1\nHost: basic.example.org\n\nGET /robots.txt HTTP/1.1\nHost: basic.example.org\n\n", want: "401 auth-required, " + refusedLogin, seen: "-"}},
	)
}

// Services that are asked.
func serviceReports() []guardReport {
	ask := func(name, verdict, want string, lines ...string) guardReport {
		return guardReport{report: report{name: name, send: with("sso.example.org", lines...), want: want, seen: "-"}, verdict: verdict}
	}
	denied := func(name, verdict, status string, got string) guardReport {
		c := ask(name, verdict, status+" auth-denied, on")
		c.got = got
		return c
	}
	const unavailable = "503 auth-unavailable, on"
	var cases []guardReport
	for _, status := range []int{400, 401, 402, 403, 404, 405, 407, 418, 421, 426, 429, 431, 451, 499, 500, 502, 503, 504, 511, 599, 300, 301, 302, 303, 305, 307, 308, 399} {
		cases = append(cases, denied(fmt.Sprint("status ", status), fmt.Sprintf("HTTP/1.1 %d X\nContent-Length: 2\n\nno", status), fmt.Sprint(status), "no"))
	}
	for _, status := range []int{100, 102, 103, 199, 304, 600, 999, 0} {
		cases = append(cases, ask(fmt.Sprint("no final status ", status), fmt.Sprintf("HTTP/1.1 %03d X\nContent-Length: 0\n\n"+closes, status), unavailable))
	}
	for _, status := range []int{200, 201, 202, 203, 204, 205, 206, 207, 226, 299} {
		c := ask(fmt.Sprint("in by ", status), fmt.Sprintf("HTTP/1.1 %d X\nRemote-User: ann\nContent-Length: 0\n\n", status), "200, on")
		c.seen = "Remote-User: ann\n"
		cases = append(cases, c)
	}
	return append(cases,
		denied("no body", "HTTP/1.1 401 X\nContent-Length: 0\n\n", "401", "Content-Length: 0\n|Cache-Control: no-store\n"),
		denied("a cache's word", "HTTP/1.1 401 X\nCache-Control: private\nContent-Length: 0\n\n", "401", "Cache-Control: private\n|!no-store"),
		denied("challenges", "HTTP/1.1 401 X\nWWW-Authenticate: Negotiate\nWWW-Authenticate: Basic realm=\"x\"\nContent-Length: 0\n\n", "401", "Negotiate\n|Basic realm=\"x\"\n"),
		denied("cookies", "HTTP/1.1 302 X\nSet-Cookie: a=b\nSet-Cookie: c=d; Path=/\nLocation: https://login.example.org/?rd=%2F\nContent-Length: 0\n\n", "302", "a=b\n|c=d; Path=/\n|Location: https://login.example.org/?rd=%2F\n"),
		denied("a relative Location", "HTTP/1.1 302 X\nLocation: /oauth2/start\nContent-Length: 0\n\n", "302", "Location: /oauth2/start\n"),
		denied("chunks", "HTTP/1.1 403 X\nTransfer-Encoding: chunked\nTrailer: X-T\n\n2\nno\n0\nX-T: 1\n\n", "403", "\n\nno|Content-Length: 2\n|!chunked|!Trailer|!X-T"),
		denied("until the end", "HTTP/1.1 403 X\n\nno way"+closes, "403", "no way|Content-Length: 6\n"),
		denied("fields of the connection", "HTTP/1.1 403 X\nConnection: X-Hop\nX-Hop: 1\nKeep-Alive: timeout=1\nUpgrade: h2\nAlt-Svc: h3=\":1\"\nContent-Length: 0\n\n"+closes, "403", "!X-Hop|!Keep-Alive|!Upgrade|!Alt-Svc"),
		denied("a reason of ours", "HTTP/1.1 403 X\nX-Serai-Reason: rate-limited\nx_serai_reason: x\nContent-Length: 0\n\n", "403", "!rate-limited|!x_serai_reason"),
		denied("gzip", "HTTP/1.1 403 X\nContent-Encoding: gzip\nContent-Length: 3\n\n\x1f\x8b\x08", "403", "Content-Encoding: gzip\n|\x1f\x8b\x08"),
		denied("date, server", "HTTP/1.1 403 X\nDate: x\nServer: y\nContent-Length: 0\n\n", "403", "Server: y\n|!Date: x"),
		denied("a Location with a line end", "HTTP/1.1 302 X\nLocation: /a%0d%0aSet-Cookie:x\nContent-Length: 0\n\n", "302", "Location: /a%0d%0aSet-Cookie:x\n"),
		denied("behind a 100", "HTTP/1.1 100 Continue\n\nHTTP/1.1 403 X\nContent-Length: 0\n\n", "403", "!100 Continue"),
		denied("behind a 103", "HTTP/1.1 103 Early\nLink: </a>\n\nHTTP/1.1 403 X\nContent-Length: 0\n\n", "403", "!103"),
		ask("a 101", switched+closes, unavailable),
		ask("nothing", closes, unavailable),
		ask("nonsense", "hello\n\n"+closes, unavailable),
		ask("HTTP/2", "HTTP/2.0 200 OK\nContent-Length: 0\n\n"+closes, unavailable),
		ask("a head that is cut", "HTTP/1.1 200 OK\nRemote-User: a"+closes, unavailable),
		ask("a body that is cut", "HTTP/1.1 200 OK\nContent-Length: 9\n\nabc"+closes, unavailable),
		ask("chunks that are cut", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n"+closes, unavailable),
		ask("chunks that are malformed", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nx\n"+closes, unavailable),
		ask("two lengths", "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\nab"+closes, unavailable),
		ask("a bad length", "HTTP/1.1 200 OK\nContent-Length: -1\n\n"+closes, unavailable),
		ask("a body beyond the limit", "HTTP/1.1 403 X\nContent-Length: 70000\n\n"+strings.Repeat("x", 70000), unavailable),
		ask("a body beyond the limit lets nobody in", "HTTP/1.1 200 X\nContent-Length: 70000\n\n"+strings.Repeat("x", 70000), unavailable),
		ask("a head beyond the limit", "HTTP/1.1 200 X\nA: "+strings.Repeat("x", 70000)+"\nContent-Length: 0\n\n", unavailable),
		ask("a field that is malformed", "HTTP/1.1 200 X\nRemote User: ann\nContent-Length: 0\n\n"+closes, unavailable),
		ask("a value that is malformed", "HTTP/1.1 200 X\nRemote-User: a\x01nn\nContent-Length: 0\n\n"+closes, unavailable),
		guardReport{report: report{name: "what is told", send: with("sso.example.org", "Remote-User: root", "remote_user: root", "Remote-Groups: admin", "X-Own: 1"), want: "200, on",
			seen: "Remote-User: ann\n|Remote-Groups: a\n|Remote-Groups: b\n|X-Own: 1\n|!root|!admin|!X-Else", got: "Set-Cookie: session=new\n|!X-Else|!Remote-User"},
			asked: "GET /verify?a=b HTTP/1.1\n|X-Forwarded-Method: GET\n|X-Forwarded-Uri: /\n|X-Forwarded-Host: sso.example.org\n|X-Forwarded-Proto: http\n|X-Forwarded-For: 127.0.0.1\n|X-Own: 1\n|!root|!admin"},
		guardReport{report: report{name: "groups that the service does not tell", send: with("sso.example.org", "Remote-Groups: admin", "REMOTE_GROUPS: admin"), want: "200, on", seen: "Remote-User: x\n|!admin|!Groups"}, verdict: "HTTP/1.1 200 OK\nRemote-User: x\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "what is told, named by Connection", send: with("sso.example.org", "Connection: Remote-User, X-Forwarded-For, X-Forwarded-Uri, X-Forwarded-Host, Cookie", "Cookie: session=1"), want: "200, on", seen: "Remote-User: ann\n|X-Forwarded-For: 127.0.0.1\n"}, asked: "X-Forwarded-For: 127.0.0.1\n|X-Forwarded-Uri: /\n|X-Forwarded-Host: sso.example.org\n"},
		guardReport{report: report{name: "what a stranger says was asked for", send: with("sso.example.org", "X-Forwarded-Method: OPTIONS", "X-Forwarded-Uri: /public", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "X-Original-Url: /public", "X-Original-Uri: /public", "X-Original-Method: OPTIONS", "X-Rewrite-Url: /public", "X-Forwarded-Prefix: /public", "X-Real-Ip: 6.6.6.6", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6;host=evil.test", "X_Forwarded_Uri: /public", "x_original_url: /public", "X-Forwarded_Host: evil.test", "X-Auth-Request-User: root"), want: "200, on",
			seen: "!/public|!evil.test|!6.6.6.6"}, asked: "X-Forwarded-Method: GET\n|X-Forwarded-Uri: /\n|!/public|!evil.test|!6.6.6.6|X-Forwarded-Proto: http\n"},
		guardReport{report: report{name: "a stranger at one that trusts balancers", send: with("trusting.example.org", "X-Forwarded-Method: OPTIONS", "X-Forwarded-Uri: /public", "X-Forwarded-Host: evil.test"), want: "200, on", seen: "!/public|!evil.test"}, asked: "X-Forwarded-Method: GET\n|X-Forwarded-Uri: /\n|X-Forwarded-Host: trusting.example.org\n|!/public|!evil.test"},
		guardReport{report: report{name: "the path as it came", send: "GET /a%2F.x;y//%41?b=%20c/../&d HTTP/1.1\nHost: sso.example.org\n\n", want: "200, on", seen: "GET /a%2F.x;y//%41?b=%20c/../&d HTTP/1.1\n"}, asked: "X-Forwarded-Uri: /a%2F.x;y//A?b=%20c/../&d\n"},
		guardReport{report: report{name: "a letter that need not be encoded", send: "GET /%61dmin%2Fx?%61 HTTP/1.1\nHost: sso.example.org\n\n", want: "200, on", seen: "GET /%61dmin%2Fx?%61 HTTP/1.1\n"}, asked: "X-Forwarded-Uri: /admin%2Fx?%61\n"},
		guardReport{report: report{name: "a path that leads elsewhere", send: "GET /public/../admin HTTP/1.1\nHost: sso.example.org\n\n", want: "400 disguised-path, on", seen: "-"}, asked: "-"},
		guardReport{report: report{name: "a path that leads elsewhere once decoded", send: "GET /public/..%2fadmin HTTP/1.1\nHost: sso.example.org\n\n", want: "400 disguised-path, on", seen: "-"}, asked: "-"},
		guardReport{report: report{name: "a path that leads elsewhere without parameters", send: "POST /public/..;x/admin HTTP/1.1\nHost: sso.example.org\nContent-Length: 3\n\nabc", want: "400 disguised-path, on", seen: "-"}, asked: "-"},
		guardReport{report: report{name: "a path that leads elsewhere, in the absolute form", send: "GET http://sso.example.org/public/%2e%2e/admin HTTP/1.1\nHost: a.test\n\n", want: "400 disguised-path, on", seen: "-"}, asked: "-"},
		guardReport{report: report{name: "credentials for a proxy", send: with("sso.example.org", "Proxy-Authorization: Basic eDp5", "Proxy_Authorization: z", login("ann", "x")), want: "200, on", seen: login("ann", "x") + "\n|!Proxy"}, asked: "Proxy-Authorization: Basic eDp5\n|!Proxy_"},
		guardReport{report: report{name: "credentials for a proxy, named by Connection", send: with("sso.example.org", "Connection: Proxy-Authorization", "Proxy-Authorization: Basic eDp5"), want: "200, on", seen: "!Proxy"}},
		guardReport{report: report{name: "an absolute form", send: "GET http://sso.example.org/x?y HTTP/1.1\nHost: evil.test\n\n", want: "200, on", seen: "GET /x?y HTTP/1.1\n|!evil.test"}, asked: "X-Forwarded-Uri: /x?y\n|X-Forwarded-Host: sso.example.org\n|!evil.test"},
		guardReport{report: report{name: "another spelling of the host", send: with("SSO.Example.ORG."), want: "200, on", seen: "X-Forwarded-Host: SSO.Example.ORG.\n|Forwarded: for=127.0.0.1;host=\"SSO.Example.ORG.\";proto=http\n"}, asked: "X-Forwarded-Host: sso.example.org\n|Forwarded: for=127.0.0.1;host=\"sso.example.org\";proto=http\n"},
		guardReport{report: report{name: "another spelling of the host, with a port", send: with("SSO.Example.ORG.:8443"), want: "200, on"}, asked: "X-Forwarded-Host: sso.example.org:8443\n"},
		guardReport{report: report{name: "an absolute form without a path", send: "GET http://sso.example.org?y HTTP/1.1\nHost: evil.test\n\n", want: "200, on", seen: "GET /?y HTTP/1.1\n"}, asked: "X-Forwarded-Uri: /?y\n"},
		guardReport{report: report{name: "a fragment", send: "GET /admin#/public HTTP/1.1\nHost: sso.example.org\n\n", want: "400 bad-target, end", seen: "-"}, asked: "-"},
		guardReport{report: report{name: "another query mark", send: "GET /admin?/public?x HTTP/1.1\nHost: sso.example.org\n\n", want: "200, on", seen: "GET /admin?/public?x HTTP/1.1\n"}, asked: "X-Forwarded-Uri: /admin?/public?x\n"},
		guardReport{report: report{name: "a method in lower case", send: "post / HTTP/1.1\nHost: sso.example.org\nContent-Length: 0\n\n", want: "200, on", seen: "post / HTTP/1.1\n"}, asked: "X-Forwarded-Method: post\n"},
		guardReport{report: report{name: "a service of HTTP/1.0", send: with("sso.example.org", "Remote-User: root"), want: "200, on", seen: "Remote-User: ann\n|!root"}, verdict: "HTTP/1.0 200 OK\nServer: BaseHTTP/0.6 Python/3.12\nRemote-User: ann\n\nfine" + closes},
		guardReport{report: report{name: "a service of HTTP/1.0 that denies", send: with("sso.example.org"), want: "302 auth-denied, on", seen: "-", got: "Location: /login\n"}, verdict: "HTTP/1.0 302 Found\nLocation: /login\n\n" + closes},
		guardReport{report: report{name: "names in lower case", send: with("sso.example.org", "Remote-User: root"), want: "200, on", seen: "Remote-User: ann\n|!root"}, verdict: "HTTP/1.1 200 OK\nremote-user: ann\ncontent-length: 0\n\n"},
		guardReport{report: report{name: "a name that only looks like it", send: with("sso.example.org"), want: "200, on", seen: "!admin"}, verdict: "HTTP/1.1 200 OK\nRemote_Groups: admin\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "a 401 with a Location", send: with("sso.example.org"), want: "401 auth-denied, on", seen: "-", got: "Location: https://login.example.org/\n|Set-Cookie: a=b\n"}, verdict: "HTTP/1.1 401 X\nLocation: https://login.example.org/\nSet-Cookie: a=b\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "many cookies of the service", send: with("sso.example.org"), want: "200, on", got: "Set-Cookie: _oauth2_proxy_0=a\n|Set-Cookie: _oauth2_proxy_1=b\n|Set-Cookie: _oauth2_proxy_2=\n"}, verdict: "HTTP/1.1 200 OK\nSet-Cookie: _oauth2_proxy_0=a\nSet-Cookie: _oauth2_proxy_1=b\nSet-Cookie: _oauth2_proxy_2=\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "a renewed session is in no cache", send: with("sso.example.org"), answer: "HTTP/1.1 200 OK\nCache-Control: public, max-age=3600\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\nContent-Length: 0\n\n", want: "200, on", got: "Set-Cookie: session=new\n|Cache-Control: private, no-store\n|!public"}},
		guardReport{report: report{name: "a body that waits for 100 and may", send: "POST / HTTP/1.1\nHost: sso.example.org\nContent-Length: 3\nExpect: 100-continue\n\nabc", want: "200, on", seen: "abc"}, asked: "!Expect|!abc"},
		guardReport{report: report{name: "the fields of a WebSocket", send: to("sso.example.org") + websocket + "\n", want: "403 auth-denied, end", seen: "-"}, verdict: "HTTP/1.1 403 X\nContent-Length: 0\n\n", asked: "X-Forwarded-Method: GET\n|!Upgrade|!Connection: "},
		guardReport{report: report{name: "HEAD", send: "HEAD /h HTTP/1.1\nHost: sso.example.org\n\n", want: "302 auth-denied, on", seen: "-"}, verdict: "HTTP/1.1 302 X\nLocation: /login\nContent-Length: 2\n\nno", asked: "GET /verify|X-Forwarded-Method: HEAD\n"},
		guardReport{report: report{name: "HEAD that may", send: "HEAD /h HTTP/1.1\nHost: sso.example.org\n\n", answer: "HTTP/1.1 200 OK\nContent-Length: 7\n\n", want: "200, on", seen: "HEAD /h "}, asked: "GET /verify|X-Forwarded-Method: HEAD\n"},
		guardReport{report: report{name: "OPTIONS *", send: "OPTIONS * HTTP/1.1\nHost: sso.example.org\n\n", want: "403 auth-denied, on", seen: "-"}, verdict: "HTTP/1.1 403 X\nContent-Length: 0\n\n", asked: "X-Forwarded-Uri: *\n|X-Forwarded-Method: OPTIONS\n"},
		guardReport{report: report{name: "a body", send: "POST / HTTP/1.1\nHost: sso.example.org\nContent-Length: 3\nContent-Type: text/plain\nContent-Encoding: x\n\nabc", want: "200, on", seen: "Content-Length: 3\n|\n\nabc"}, asked: "GET /verify|X-Forwarded-Method: POST\n|!Content-Length|!abc|!Content-Encoding|!Transfer-Encoding"},
		guardReport{report: report{name: "chunks", send: "POST / HTTP/1.1\nHost: sso.example.org\nTransfer-Encoding: chunked\nTrailer: X-T\n\n3\nabc\n0\nX-T: 1\nRemote-User: root\n\n", want: "200, on", seen: "abc|X-T: 1|!root"}, asked: "!chunked|!Trailer|!root"},
		guardReport{report: report{name: "a body that waits for 100 and is refused", send: "POST / HTTP/1.1\nHost: sso.example.org\nContent-Length: 3\nExpect: 100-continue\n\n", alone: true, want: "403 auth-denied, end", seen: "-", got: "!100 Continue"}, verdict: "HTTP/1.1 403 X\nContent-Length: 0\n\n", asked: "!Expect"},
		guardReport{report: report{name: "conditions and ranges", send: with("sso.example.org", "If-None-Match: \"a\"", "If-Modified-Since: x", "If-Match: *", "Range: bytes=0-1", "If-Range: x", "Accept-Encoding: gzip", "TE: trailers", "Max-Forwards: 1"), want: "200, on", seen: "If-None-Match: \"a\"\n|Range: bytes=0-1\n|Accept-Encoding: gzip\n"}, asked: "!If-|!Range|!gzip|!TE:"},
		guardReport{report: report{name: "WebSocket", send: to("sso.example.org") + websocket + "\n", want: "403 auth-denied, end", seen: "-"}, verdict: "HTTP/1.1 403 X\nContent-Length: 0\n\n", asked: "!Upgrade|!Connection"},
		guardReport{report: report{name: "WebSocket that may", send: to("sso.example.org") + websocket + "Remote-User: root\n\n", alone: true, answer: switched + closes, want: `101, "hello"`, seen: "Remote-User: ann\n|!root", got: "Set-Cookie: session=new\n"}, asked: "!Upgrade|!root"},
		guardReport{report: report{name: "a login for the service", send: with("sso.example.org", login("ann", "x"), "Cookie: a=b", "Cookie: c=d"), want: "200, on", seen: login("ann", "x") + "\n"}, asked: login("ann", "x") + "\n|a=b|c=d"},
		guardReport{report: report{name: "many fields", send: with("sso.example.org", strings.TrimSuffix(strings.Repeat("X-F: 1\n", 100), "\n")), want: "200, on"}},
		guardReport{report: report{name: "a large cookie", send: with("sso.example.org", "Cookie: "+strings.Repeat("a", 30000)), want: "200, on"}, asked: strings.Repeat("a", 30000)},
		guardReport{report: report{name: "two questions, two answers", send: with("both.example.org"), want: "200, on", seen: "Remote-User: ann\n"}},
		guardReport{report: report{name: "an instance's cookie and the service's", send: with("sso.example.org"), answer: "HTTP/1.1 200 OK\nSet-Cookie: own=1\nContent-Length: 0\n\n", want: "200, on", got: "Set-Cookie: own=1\n|Set-Cookie: session=new\n"}},
		guardReport{report: report{name: "a session is not published", send: with("cached.example.org"), answer: "HTTP/1.1 200 OK\nSet-Cookie: own=1\nContent-Length: 0\n\n", want: "200, on", got: "Set-Cookie: session=new\n|Cache-Control: private, no-store\n|!public|!own=1"}},
		guardReport{report: report{name: "nor is a login", send: with("cached.example.org"), want: "302 auth-denied, on", got: "Set-Cookie: csrf=1\n|Cache-Control: private, no-store\n|!public", seen: "-"}, verdict: "HTTP/1.1 302 X\nLocation: /login\nSet-Cookie: csrf=1\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "nobody is cached", send: with("sso.example.org", "Cookie: a=1") + with("sso.example.org", "Cookie: a=2"), want: "200, 200, on"}, asked: "a=1|a=2"},
		guardReport{report: report{name: "a value of the service with blanks", send: with("sso.example.org"), want: "200, on", seen: "Remote-User: a b\n"}, verdict: "HTTP/1.1 200 OK\nRemote-User:   a b  \nContent-Length: 0\n\n"},
		guardReport{report: report{name: "an empty value of the service", send: with("sso.example.org", "Remote-User: root"), want: "200, on", seen: "!root"}, verdict: "HTTP/1.1 200 OK\nRemote-User:\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "a value of the service that frames", send: with("sso.example.org"), want: "200, on", seen: "!Transfer-Encoding|!X-Smuggled"}, verdict: "HTTP/1.1 200 OK\nRemote-User: ann\nX-Smuggled: 1\nTrailer: Remote-Groups\nTransfer-Encoding: chunked\n\n0\nRemote-Groups: admin\n\n"},
		guardReport{report: report{name: "trailers of the service tell nothing", send: with("sso.example.org"), want: "200, on", seen: "!admin"}, verdict: "HTTP/1.1 200 OK\nRemote-User: ann\nTrailer: Remote-Groups\nTransfer-Encoding: chunked\n\n0\nRemote-Groups: admin\n\n"},
	)
}

// Address lists, and guards of paths.
func listReports() []guardReport {
	var cases []guardReport
	add := func(name, target, want string) {
		c := guardReport{report: report{name: name + " " + target, send: "GET " + target + " HTTP/1.1\nHost: app.example.org\n\n", want: want}}
		if want != "200, on" {
			c.seen = "-"
		}
		cases = append(cases, c)
	}
	for _, target := range []string{"/admin", "/admin/", "/admin/x", "/admin?x", "http://app.example.org/admin", "/admin//", "/admin/%2e", "/admin/;x", "/admin/%00"} {
		add("guarded", target, "403 ip-denied, on")
	}
	for _, target := range []string{
		"//admin", "///admin", "/./admin", "/x/../admin", "/%61dmin", "/%61%64%6d%69%6e", "/admin;", "/admin;a=b", "/admin;/x", "/;/admin", "/x/..;/admin", "/x/..;a/admin", "/%2e/admin", "/x/%2e%2e/admin", "/x/%2e./admin",
		"/x/..%2fadmin", "/x/..%5cadmin", "/x\\..\\admin", "/\\admin", "/%5cadmin", "/%2fadmin", "/admin%2f", "/admin%2fx", "/admin%5cx", "/admin\\x", "/admin%3b", "/admin%3bx=y", "/.//admin", "/x//..//admin", "/x/y/../../admin", "/../admin", "/..;/admin", "/.;/admin",
		"/x/.%2e/admin", "/x/%2E%2E%2Fadmin", "/%2e%2e%2fadmin", "//x/../admin", "/%2f%2fadmin", "/admin/../admin", "/x;a/../admin", "/x/..%00/admin", "/x/..%20/admin", "/x/..%00%2fadmin", "/x/..%20%5Cadmin", "http://app.example.org//admin", "/%09/../admin",
		// Read as an authority, or cut off, by some.
		"//x/admin", "//app.example.org/admin", "/\\x/admin", "/admin/../x", "/admin/..%2fx", "/admin/..;/x", "/admin/%2e%2e/x", "//x:80/admin", "//u@x/admin/", "/admin%00", "/admin%00.css", "/admin%3f", "/admin%3fx.css", "/admin%23", "/admin%23/x", "/x/../admin%3f",
	} {
		add("disguised", target, "400 disguised-path, on")
	}
	for _, target := range []string{"/", "/x", "/administration", "/admi", "/x/admin", "/x;y", "/a%20b", "/%41", "/x%3fy", "/x%00", "//x", "/x//y", "/.well-known/x", "/a%2fb", "//x/y", "/%2561dmin", "/x%23admin", "/adminx%00"} {
		add("open", target, "200, on")
	}
	for target, want := range map[string]string{
		"/caf%C3%A9": "403 ip-denied, on", "/my%20files/x": "403 ip-denied, on", "/caf%c3%a9": "400 disguised-path, on", "/c%61f%C3%A9/x": "400 disguised-path, on", "/m%79%20files": "400 disguised-path, on",
		"/~bob": "400 disguised-path, on", "/%7ebob/x": "400 disguised-path, on", "/caf%C3": "200, on", "/my+files": "200, on",
	} {
		c := guardReport{report: report{name: "encoded in the tag: " + target, send: "GET " + target + " HTTP/1.1\nHost: encoded.example.org\n\n", want: want}}
		if want != "200, on" {
			c.seen = "-"
		}
		cases = append(cases, c)
	}
	login := func(name, method, target, want string) {
		c := guardReport{report: report{name: "by method: " + name, send: method + " " + target + " HTTP/1.1\nHost: app.example.org\nContent-Length: 0\n\n", want: want}}
		if want != "200, on" {
			c.seen = "-"
		}
		cases = append(cases, c)
	}
	login("guarded", "POST", "/login", "403 ip-denied, on")
	login("another", "GET", "/login", "200, on")
	login("disguised path", "POST", "/%6cogin", "400 disguised-path, on")
	login("lower case", "post", "/login", "400 disguised-method, on")
	login("mixed case", "PoST", "/login", "400 disguised-method, on")
	login("trailing slash", "POST", "/login/", "400 disguised-path, on")
	login("trailing slashes, encoded", "POST", "/%6cogin//", "400 disguised-path, on")
	login("trailing slash of another method", "GET", "/login/", "200, on")
	login("lower case elsewhere", "post", "/x", "200, on")
	for _, lines := range [][]string{
		{"X-Forwarded-For: 192.0.2.1"}, {"X-Real-Ip: 192.0.2.1"}, {"Forwarded: for=192.0.2.1"}, {"X-Client-Ip: 192.0.2.1"}, {"True-Client-Ip: 192.0.2.1"}, {"Cf-Connecting-Ip: 192.0.2.1"}, {"X_Forwarded_For: 192.0.2.1"},
		{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.1"}, {"Connection: X-Forwarded-For", "X-Forwarded-For: 192.0.2.1"}, {"X-Original-Forwarded-For: 192.0.2.1"}, {"X-Cluster-Client-Ip: 192.0.2.1"}, {"Via: 1.1 192.0.2.1"}, {"X-ProxyUser-Ip: 192.0.2.1"},
	} {
		cases = append(cases, guardReport{report: report{name: "spoofed: " + strings.Join(lines, " "), send: "GET /admin HTTP/1.1\nHost: app.example.org\n" + strings.Join(lines, "\n") + "\n\n", want: "403 ip-denied, on", seen: "-"}})
	}
	for _, lines := range []string{"X-Original-Url: /admin", "X-Rewrite-Url: /admin", "X-Original-Uri: /admin", "X-Forwarded-Prefix: /admin", "X-Forwarded-Path: /admin", "X_Original_Url: /admin", "X-Forwarded-Uri: /admin", "X-Accel-Redirect: /admin", "X-Envoy-Original-Path: /admin", "X-Original-Path: /admin"} {
		c := guardReport{report: report{name: "another path by " + lines, send: "GET /x HTTP/1.1\nHost: app.example.org\n" + lines + "\n\n", want: "200, on", seen: "!/admin"}}
		if strings.HasPrefix(lines, "X-Accel") {
			c.seen = "" // of answers, not of requests
		}
		cases = append(cases, c)
	}
	for _, lines := range []string{"X-Http-Method-Override: POST", "X-Method-Override: POST", "X-Http-Method: POST"} {
		cases = append(cases, guardReport{report: report{name: "another method by " + lines, send: "GET /login HTTP/1.1\nHost: app.example.org\n" + lines + "\n\n", want: "200, on"}})
	}
	return append(cases,
		guardReport{report: report{name: "list: in it", send: with("list.example.org"), want: "200, on"}},
		guardReport{report: report{name: "rate: first, second", send: with("rate.example.org") + with("rate.example.org"), want: "200, 429 rate-limited, on", got: "Retry-After: 3600\n"}},
		guardReport{report: report{name: "rate: forged clients", send: with("rate.example.org", "X-Forwarded-For: 6.6.6.6") + with("rate.example.org", "X-Real-Ip: 7.7.7.7"), want: "429 rate-limited, 429 rate-limited, on", seen: "-"}},
		guardReport{report: report{name: "rate: other spellings of the host", send: with("RATE.example.org") + with("rate.example.org.") + with("rate.example.org:81") + "GET http://rate.example.org/ HTTP/1.1\nHost: x\n\n", want: "429 rate-limited, 429 rate-limited, 429 rate-limited, 429 rate-limited, on", seen: "-"}},
		guardReport{report: report{name: "rate: other methods and paths", send: "HEAD /x HTTP/1.1\nHost: rate.example.org\n\nOPTIONS * HTTP/1.1\nHost: rate.example.org\n\n" + to("rate.example.org") + websocket + "\n", want: "429 rate-limited, 429 rate-limited, 429 rate-limited, end", seen: "-"}},
	)
}

// CORS.
func corsReports() []guardReport {
	preflight := func(name, origin, method, want, got string, lines ...string) guardReport {
		more := strings.Join(append([]string{""}, lines...), "\n")
		return guardReport{report: report{name: name, send: "OPTIONS / HTTP/1.1\nHost: cors.example.org\nOrigin: " + origin + "\nAccess-Control-Request-Method: " + method + more + "\n\n", want: want, got: got, seen: "-"}}
	}
	const denied = "403 cors-denied, on"
	const ok = "204 cors-preflight, on"
	simple := func(name, origin, got string) guardReport {
		return guardReport{report: report{name: name, send: with("cors.example.org", "Origin: "+origin), answer: "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nAccess-Control-Allow-Credentials: true\nVary: Accept\nContent-Length: 0\n\n", want: "200, on", got: got + "|Vary: Accept\n|Vary: Origin\n|!Allow-Origin: *"}}
	}
	cases := []guardReport{
		preflight("allowed", "https://app.example.org", "PUT", ok, "Access-Control-Allow-Origin: https://app.example.org\n|Access-Control-Allow-Methods: GET, PUT\n|Access-Control-Allow-Credentials: true\n|Vary: Origin\n"),
		preflight("a label", "https://a.dev.example.org", "GET", ok, "Access-Control-Allow-Origin: https://a.dev.example.org\n"),
		preflight("null", "null", "GET", ok, "Access-Control-Allow-Origin: null\n"),
		preflight("fields", "https://app.example.org", "GET", ok, "", "Access-Control-Request-Headers: content-type, x-a"),
		preflight("fields in two lines", "https://app.example.org", "GET", denied, "", "Access-Control-Request-Headers: x-a", "Access-Control-Request-Headers: x-b"),
		preflight("another field", "https://app.example.org", "GET", denied, "", "Access-Control-Request-Headers: x-a, authorization"),
		preflight("method in lower case", "https://app.example.org", "put", denied, ""),
		preflight("another method", "https://app.example.org", "DELETE", denied, ""),
		preflight("private network", "https://app.example.org", "GET", ok, "!Private-Network", "Access-Control-Request-Private-Network: true"),
		simple("answer", "https://app.example.org", "Access-Control-Allow-Origin: https://app.example.org\n|Access-Control-Expose-Headers: x-b\n"),
		simple("answer to another", "https://evil.test", "!Access-Control"),
	}
	for _, origin := range []string{
		"http://app.example.org", "https://app.example.org:8443", "https://app.example.org.evil.test", "https://evil-app.example.org", "https://app.example.org/", "https://APP.example.org", "HTTPS://app.example.org", "https://app.example.org:443", "https://evilapp.example.org",
		"https://a.b.dev.example.org", "https://dev.example.org", "https://.dev.example.org", "https://evil.test/.dev.example.org", "https://evil.test#.dev.example.org", "https://evil.test?.dev.example.org", "https://evil.test\\.dev.example.org", "https://evil.test%00.dev.example.org", "https://evil.test@a.dev.example.org",
		"https://a.dev.example.org.evil.test", "https://a_dev.example.org", "https://appxexample.org", "NULL", "null,https://app.example.org", "https://app.example.org https://evil.test", "file://", "*", "", "https://a.dev.example.org:8443", "https://`a.dev.example.org", "https://a'.dev.example.org", "https://evil.test,.dev.example.org",
	} {
		c := preflight("origin "+origin, origin, "GET", denied, "!Access-Control-Allow-Origin")
		if origin == "" {
			c.want = denied
		}
		cases = append(cases, c)
	}
	return append(cases,
		guardReport{report: report{name: "two origins", send: "OPTIONS / HTTP/1.1\nHost: cors.example.org\nOrigin: https://app.example.org\nOrigin: https://evil.test\nAccess-Control-Request-Method: GET\n\n", want: denied, got: "!Allow-Origin", seen: "-"}},
		guardReport{report: report{name: "OPTIONS of another kind", send: "OPTIONS / HTTP/1.1\nHost: cors.example.org\nOrigin: https://app.example.org\n\n", want: "200, on", seen: "OPTIONS / "}},
		guardReport{report: report{name: "options in lower case", send: "options / HTTP/1.1\nHost: cors.example.org\nOrigin: https://evil.test\nAccess-Control-Request-Method: GET\n\n", want: "200, on", got: "!Access-Control"}},
		guardReport{report: report{name: "no origin", send: with("cors.example.org"), want: "200, on", got: "Vary: Origin\n|!Access-Control"}},
		guardReport{report: report{name: "an instance's fields in odd case", send: with("cors.example.org", "Origin: https://evil.test"), answer: "HTTP/1.1 200 OK\nACCESS-CONTROL-ALLOW-ORIGIN: *\naccess-control-allow-credentials: true\nContent-Length: 0\n\n", want: "200, on", got: "!ACCESS|!access-control"}},
		guardReport{report: report{name: "a preflight before auth", send: "OPTIONS / HTTP/1.1\nHost: corsauth.example.org\nOrigin: https://app.example.org\nAccess-Control-Request-Method: GET\n\n", want: ok, seen: "-"}},
		guardReport{report: report{name: "a 401 that scripts may read", send: with("corsauth.example.org", "Origin: https://app.example.org"), want: refusedLogin, got: "Access-Control-Allow-Origin: https://app.example.org\n", seen: "-"}},
		guardReport{report: report{name: "a login that scripts may read", send: with("corssso.example.org", "Origin: https://app.example.org"), want: "302 auth-denied, on", got: "Access-Control-Allow-Origin: https://app.example.org\n|!Access-Control-Allow-Origin: *|!Credentials", seen: "-"},
			verdict: "HTTP/1.1 302 X\nAccess-Control-Allow-Origin: *\nAccess-Control-Allow-Credentials: true\nLocation: /login\nContent-Length: 0\n\n"},
		guardReport{report: report{name: "OPTIONS without a method's name is no preflight", send: "OPTIONS / HTTP/1.1\nHost: corsauth.example.org\nOrigin: https://app.example.org\n\n", want: refusedLogin, seen: "-"}},
		guardReport{report: report{name: "a preflight with a body", send: "OPTIONS / HTTP/1.1\nHost: cors.example.org\nOrigin: https://app.example.org\nAccess-Control-Request-Method: GET\nContent-Length: 3\n\nabc", want: ok, seen: "-"}},
	)
}

// Paths on their way to the instance.
func pathReports() []guardReport {
	var cases []guardReport
	add := func(host, target, want, path string) {
		c := guardReport{report: report{name: host + " " + target, send: "GET " + target + " HTTP/1.1\nHost: " + host + ".example.org\n\n", want: want, seen: "-"}}
		if path != "" {
			c.seen = "GET " + path + " HTTP/1.1\n"
		}
		cases = append(cases, c)
	}
	sent := func(host, target, path string) { add(host, target, "200, on", path) }
	refused := func(host, target string) { add(host, target, "400 bad-rewrite, on", "") }
	sent("strip", "/api", "/")
	sent("strip", "/api/", "/")
	sent("strip", "/api?x=/api", "/?x=/api")
	sent("strip", "/api/api/x", "/api/x")
	sent("strip", "/api//evil.test", "//evil.test")
	sent("strip", "/api/a%2Fb", "/a%2Fb")
	sent("strip", "/api/%2e", "/%2e")
	add("strip", "/apix", "404 no-path, on", "")
	add("strip", "/api;x", "404 no-path, on", "")
	add("strip", "/api%2fx", "404 no-path, on", "")
	add("strip", "/API", "404 no-path, on", "")
	add("strip", "/api/..", "404 no-path, on", "")
	add("strip", "/api/..%2fx", "404 no-path, on", "")
	add("strip", "/api/x/../../y", "404 no-path, on", "")
	sent("strip", "/%61/x", "/%61/x")
	sent("rewrite", "/v1/x", "/api/x")
	sent("rewrite", "/v1/", "/api/")
	sent("rewrite", "/v1", "/v1")
	sent("rewrite", "/v1/x?a=/v1/&b", "/api/x?a=/v1/&b")
	sent("rewrite", "/v1/x%3Fy", "/api/x%3Fy")
	sent("rewrite", "/v1/x%23y", "/api/x%23y")
	sent("rewrite", "/v1/x%0ay", "/api/x%0ay")
	sent("rewrite", "/v1/x%2Fy", "/api/x%2Fy")
	sent("rewrite", "/v1//evil.test", "/api//evil.test")
	sent("rewrite", "/v1/$2", "/api/$2")
	sent("rewrite", "/v1/${1}", "/api/${1}")
	sent("rewrite", "/V1/x", "/V1/x")
	sent("rewrite", "/x/v1/y", "/x/v1/y")
	refused("rewrite", "/v1/../x")
	refused("rewrite", "/v1/%2e%2e/x")
	refused("rewrite", "/v1/..%2fx")
	refused("rewrite", "/v1/x\\..\\y")
	refused("rewrite", "/v1/..;/x")
	refused("rewrite", "/v1/"+strings.Repeat("a", 4096))
	sent("any", "/", "/x/")
	sent("any", "/a?", "/x/a?")
	sent("loose", "/p/x", "/x")
	sent("loose", "/p/", "/")
	sent("loose", "/p//evil.test", "//evil.test")
	refused("loose", "/p/../x")
	sent("prepend", "/x?y", "/app/x?y")
	sent("prepend", "//x", "/app//x")
	refused("prepend", "/../x")
	refused("prepend", "/%2e%2e/x")
	refused("prepend", "/x/..%5c..%5cy")
	refused("prepend", "/.%00/x")
	cases = append(cases,
		guardReport{report: report{name: "OPTIONS * of strip", send: "OPTIONS * HTTP/1.1\nHost: strip.example.org\n\n", want: "404 no-path, on"}},
		guardReport{report: report{name: "OPTIONS * of prepend", send: "OPTIONS * HTTP/1.1\nHost: prepend.example.org\n\n", want: "200, on", seen: "OPTIONS * HTTP/1.1\n"}},
		guardReport{report: report{name: "OPTIONS * of rewrite", send: "OPTIONS * HTTP/1.1\nHost: any.example.org\n\n", want: "200, on", seen: "OPTIONS * HTTP/1.1\n"}},
		guardReport{report: report{name: "absolute form of rewrite", send: "GET http://rewrite.example.org/v1/x HTTP/1.1\nHost: a.test\n\n", want: "200, on", seen: "GET /api/x HTTP/1.1\nHost: rewrite.example.org\n"}},
		guardReport{report: report{name: "absolute form without a path", send: "GET http://any.example.org?a HTTP/1.1\nHost: a.test\n\n", want: "200, on", seen: "GET /x/?a HTTP/1.1\n"}},
		guardReport{report: report{name: "a prefix of strangers", send: "GET /api/x HTTP/1.1\nHost: strip.example.org\nX-Forwarded-Prefix: //evil.test\n\n", want: "200, on", seen: "X-Forwarded-Prefix: /api\n|!evil.test"}},
	)
	return cases
}

// Fields that routes change.
func fieldChangeReports() []guardReport {
	return []guardReport{
		{report: report{name: "set in place of the client's", send: with("set.example.org", "X-User: root", "X_User: root", "x.user: root", "X-USER: root"), want: "200, on", seen: "X-User: 127.0.0.1 set.example.org /\n|!root"}},
		{report: report{name: "removed in every spelling", send: with("set.example.org", "X-Debug: 1", "X_Debug: 1", "x-debug: 1", "X-Debug2: 2"), want: "200, on", seen: "X-Debug2: 2\n|!Debug: 1|!debug: 1"}},
		{report: report{name: "named by Connection", send: with("set.example.org", "Connection: X-User"), want: "200, on", seen: "X-User: 127.0.0.1"}},
		{report: report{name: "a path of quotes", send: "GET /a\"b<>{}|^`\\ HTTP/1.1\nHost: set.example.org\n\n", want: "200, on", got: "X-Path: /a%22b%3C%3E{}|^`%5C\n"}},
		{report: report{name: "a path beyond ASCII", send: "GET /\xc3\xa9 HTTP/1.1\nHost: set.example.org\n\n", want: "400 bad-target, end", seen: "-"}},
		{report: report{name: "encoded line ends", send: "GET /%0d%0aSet-Cookie:a=b HTTP/1.1\nHost: set.example.org\n\n", want: "200, on", got: "X-Path: /%0d%0aSet-Cookie:a=b\n|!\nSet-Cookie", seen: "!\nSet-Cookie"}},
		{report: report{name: "an instance's field in odd case", send: with("set.example.org"), answer: "HTTP/1.1 200 OK\nSERVER: x\nx-path: y\nContent-Length: 0\n\n", want: "200, on", got: "X-Path: /\n|!SERVER|!x-path"}},
		{report: report{name: "trailers of the instance", send: with("set.example.org", "TE: trailers"), answer: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n0\nX-Path: z\nServer: x\nX-Sum: 1\n\n", want: "200, on", got: "X-Sum: 1\n|!X-Path: z|!Server: x"}},
		{report: report{name: "a value of 9 kB", send: "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\nHost: set.example.org\nX-User: root\n\n", want: "200, on", got: "!X-Path", seen: "!root|!X-User"}},
		{report: report{name: "of an answer of ours", send: "TRACE /x HTTP/1.1\nHost: set.example.org\nMax-Forwards: 0\n\n", want: "501 max-forwards, on", got: "X-Path: /x\n", seen: "-"}},
		{report: report{name: "trailers of the client", send: "POST / HTTP/1.1\nHost: set.example.org\nTransfer-Encoding: chunked\n\n0\nX-User: root\nX_Debug: 1\nX-Sum: 1\n\n", want: "200, on", seen: "X-Sum: 1\n|!root|!Debug"}},
	}
}

// Redirects elsewhere.
func redirectReports() []guardReport {
	var cases []guardReport
	add := func(host, target, want, location string) {
		cases = append(cases, guardReport{report: report{name: host + " " + target, send: "GET " + target + " HTTP/1.1\nHost: " + host + "\n\n", want: want, seen: "-", got: "Location: " + location + "\n"}})
	}
	for target, location := range map[string]string{
		"//evil.test": "//evil.test", "/@evil.test": "/@evil.test", "/%0d%0aX:y": "/%0d%0aX:y", "/a?b=c?d": "/a?b=c?d", "/a?": "/a", "/.evil.test": "/.evil.test", "/\\evil.test": "/%5Cevil.test", "/a?x=\"y": "/a?x=%22y", "/..//..//evil.test": "/..//..//evil.test", "/:80@evil": "/:80@evil",
	} {
		add("to.example.org", target, "308 redirect, on", "https://new.example.org"+location)
	}
	add("same.example.org", "/x", "308 redirect, on", "https://same.example.org:8443/x")
	add("a.same.example.org:1234", "//x", "308 redirect, on", "https://a.same.example.org:8443//x")
	add("A.Same.example.ORG.", "/x", "308 redirect, on", "https://a.same.example.org:8443/x")
	return cases
}
