package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"serai/internal/testnet"
	"serai/nomad"
)

const authHost = "app.example.org"

// guardedInstance is an instance that notes what it is asked. It changes to another
// protocol where that is asked for.
type guardedInstance struct {
	port int
	mu   sync.Mutex
	seen []http.Header // with the trailers among them
}

func newGuardedInstance(t *testing.T) *guardedInstance {
	t.Helper()
	i := &guardedInstance{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	i.port = s.Listener.Addr().(*net.TCPAddr).Port
	return i
}

func (i *guardedInstance) serve(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	seen := r.Header.Clone()
	for name, values := range r.Trailer {
		if len(values) > 0 { // else it was only announced
			seen[name] = append(seen[name], values...)
		}
	}
	i.mu.Lock()
	i.seen = append(i.seen, seen)
	i.mu.Unlock()
	if r.Header.Get("Upgrade") != "" {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
		return
	}
	io.WriteString(w, "for "+r.Header.Get("Remote-User")+r.Header.Get("X-Forwarded-User"))
}

// last returns the fields of the last request.
func (i *guardedInstance) last() http.Header {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.seen) == 0 {
		return nil
	}
	return i.seen[len(i.seen)-1]
}

func (i *guardedInstance) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.seen)
}

func (i *guardedInstance) registration(tags ...string) nomad.Registration {
	return nomad.Registration{ID: "id-app", ServiceName: "app", Namespace: "default", AllocID: "alloc-app", JobID: "app",
		Address: "127.0.0.1", Port: i.port, Tags: append([]string{"ingress.host=" + authHost}, tags...)}
}

// usersFile writes a file of users, each name:password, and returns its path.
func usersFile(t *testing.T, users ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	writeUsers(t, path, users...)
	return path
}

func writeUsers(t *testing.T, path string, users ...string) {
	t.Helper()
	var text strings.Builder
	for _, u := range users {
		name, password, _ := strings.Cut(u, ":")
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", name, hash)
	}
	replaceFile(t, path, text.String())
}

func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// configOf writes a config file.
func configOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "serai.hcl")
	replaceFile(t, path, text)
	return "--config=" + path
}

func basicConfig(t *testing.T, users string) string {
	return configOf(t, fmt.Sprintf("auth \"corp\" {\n  basic {\n    users_file = %q\n    realm      = \"the shop\"\n  }\n}\n", users))
}

// got is what a client has got.
type got struct {
	status int
	fields http.Header
	body   string
}

// request asks for the guarded host. Fields are lines.
func request(t *testing.T, h *http.Client, method, path string, fields ...string) got {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+authHost+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, h, r, fields...)
}

func do(t *testing.T, h *http.Client, r *http.Request, fields ...string) got {
	t.Helper()
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := own.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{res.StatusCode, res.Header, string(body)}
}

func login(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// TestBasicAuth: who has no right password gets a challenge, whoever has one is told to
// the instance, and nobody can say so himself.
func TestBasicAuth(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	admin := testnet.Address(t)
	p, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, basicConfig(t, usersFile(t, "ann:open-sesame", "bob:b")), "--admin="+admin, "--log-level=DEBUG")
	for name, h := range webClients(t, address) {
		t.Run(name, func(t *testing.T) {
			before := i.count()
			for _, fields := range [][]string{nil, {login("ann", "wrong-sesame")}, {login("eve", "open-sesame")}, {login("ann", "open-sesame"), login("ann", "open-sesame")}, {"X-Forwarded-User: ann"}} {
				a := request(t, h, "GET", "/", fields...)
				if a.status != 401 || a.fields.Get("Www-Authenticate") != `Basic realm="the shop", charset="UTF-8"` || a.fields.Get("X-Serai-Reason") != "auth-required" {
					t.Errorf("%q: answered %d with %v", fields, a.status, a.fields)
				}
			}
			if n := i.count() - before; n != 0 {
				t.Errorf("%d requests reached the instance", n)
			}
			r, err := http.NewRequest("POST", "http://"+authHost+"/", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = -1
			r.Trailer = http.Header{"X-Forwarded-User": {"trailer"}, "X_forwarded_user": {"trailer"}, "X-Own": {"kept"}}
			a := do(t, h, r, login("ann", "open-sesame"), "X-Forwarded-User: root", "x-forwarded-user: root", "X_Forwarded_User: root", "X_FORWARDED-USER: root", "X.Forwarded.User: root", "X-Forwarded-User2: other")
			if a.status != 200 || a.body != "for ann" {
				t.Fatalf("answered %d %q", a.status, a.body)
			}
			for field, values := range i.last() {
				plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(field))
				if plain == "authorization" || plain == "x-forwarded-user" && !slices.Equal(values, []string{"ann"}) {
					t.Errorf("the instance is told %s: %q", field, values)
				}
			}
			if got := i.last(); got.Get("X-Own") != "kept" || got.Get("X-Forwarded-User2") != "other" {
				t.Errorf("what is nobody's business is lost: %v", got)
			}
			if a := request(t, h, "GET", "/", login("bob", "b")); a.body != "for bob" {
				t.Errorf("the next user: %d %q", a.status, a.body)
			}
		})
	}
	told := p.stderr.String()
	for _, path := range []string{"/routes", "/explain?host=" + authHost + "&path=/", "/metrics", "/ready"} {
		_, body := get(admin, "localhost", path)
		told += body
	}
	if !strings.Contains(told, "corp asks for a name and a password") {
		t.Error("/explain does not tell of the auth")
	}
	for _, secret := range []string{"sesame", "$2a$", base64.StdEncoding.EncodeToString([]byte("ann:open-sesame"))} {
		if strings.Contains(told, secret) {
			t.Errorf("%q is told:\n%s", secret, told)
		}
	}
}

// TestNoPasswordOverPlainHTTP: where https is demanded, plain HTTP is redirected, and no
// password is asked for.
func TestNoPasswordOverPlainHTTP(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp", "ingress.tls=only")}, basicConfig(t, usersFile(t, "ann:a")))
	for name, h := range webClients(t, address) {
		for _, fields := range [][]string{nil, {login("ann", "a")}, {login("ann", "b")}} {
			if a := request(t, h, "GET", "/x", fields...); a.status != 308 || a.fields.Get("Www-Authenticate") != "" || a.fields.Get("Location") != "https://"+authHost+"/x" {
				t.Errorf("%s: answered %d with %v", name, a.status, a.fields)
			}
		}
	}
	if i.count() > 0 {
		t.Error("a request reached the instance")
	}
}

// TestAuthIsNeverOpen: a route whose auth is unknown or for others is closed, whatever
// else is right about it.
func TestAuthIsNeverOpen(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	admin := testnet.Address(t)
	users := usersFile(t, "ann:a")
	config := configOf(t, fmt.Sprintf("auth \"corp\" {\n  namespaces = [\"team-*\"]\n  basic {\n    users_file = %q\n  }\n}\n", users))
	var all []nomad.Registration
	values := []string{"corp", "other", "Corp", "off", "none", "false", "corp,corp", "corp corp", "", "-", "*", "../corp", "corp\x00"}
	for n, value := range values {
		r := i.registration("ingress.auth=" + value)
		r.ServiceName, r.Tags[0] = fmt.Sprint("app", n), fmt.Sprintf("ingress.host=app%d.example.org", n)
		all = append(all, r)
	}
	open := i.registration()
	_, address := serveStatic(t, append(all, open), config, "--admin="+admin)
	until(t, "the route without auth", func() bool { status, _ := get(address, authHost, "/"); return status == 200 })
	for n, value := range values {
		if status, _ := get(address, fmt.Sprintf("app%d.example.org", n), "/"); status != 503 {
			t.Errorf("auth=%q is answered %d", value, status)
		}
	}
	_, rejections := get(admin, "localhost", "/rejections")
	for _, want := range []string{`not for namespace`, `auth \"other\" is not in the operator's file`} {
		if !strings.Contains(rejections, want) {
			t.Errorf("/rejections does not say %q:\n%s", want, rejections)
		}
	}
}

// TestUsersFileIsFollowed: what changes in it counts, a broken one changes nothing and is
// told.
func TestUsersFileIsFollowed(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	users, admin := usersFile(t, "ann:old", "bob:b"), testnet.Address(t)
	p, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")}, basicConfig(t, users), "--admin="+admin)
	h := webClients(t, address)["HTTP/1"]
	answers := func(name, password string) int { return request(t, h, "GET", "/", login(name, password)).status }
	if n := answers("ann", "old"); n != 200 {
		t.Fatalf("answered %d", n)
	}
	replaceFile(t, users, "ann:plain-text-secret\n")
	until(t, "a complaint", func() bool {
		_, body := get(admin, "localhost", "/ready")
		return strings.Contains(body, "line 1 has plain text") && strings.Contains(p.stderr.String(), "line 1 has plain text")
	})
	if strings.Contains(p.stderr.String(), "plain-text-secret") {
		t.Error("the log has the secret")
	}
	if a, b := answers("ann", "old"), answers("bob", "b"); a != 200 || b != 200 {
		t.Errorf("after a broken file: %d, %d", a, b)
	}
	writeUsers(t, users, "ann:new")
	until(t, "the new password", func() bool { return answers("ann", "new") == 200 })
	if a, b := answers("ann", "old"), answers("bob", "b"); a != 401 || b != 401 {
		t.Errorf("the old password is answered %d, who was removed %d", a, b)
	}
}

// TestAuthOfGRPC: clients of gRPC are told in their own words.
func TestAuthOfGRPC(t *testing.T) {
	t.Parallel()
	i := newGRPCInstance(t, "a")
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.scheme=grpc", "ingress.auth=corp")}, basicConfig(t, usersFile(t, "ann:a")))
	c := dialGRPC(t, address, grpcHost)
	call := func(password string) error {
		ctx := metadata.AppendToOutgoingContext(within(t), "authorization", strings.TrimPrefix(login("ann", password), "Authorization: "))
		return c.Invoke(ctx, "/grpc.testing.TestService/EmptyCall", &emptypb.Empty{}, &emptypb.Empty{})
	}
	if err := call("b"); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "auth-required") {
		t.Errorf("a wrong password: %v", err)
	}
	if err := call("a"); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// sso is a service that lets those in who have a session cookie.
func sso(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		c, err := r.Cookie("session")
		if err != nil {
			w.Header().Set("Location", "https://login.example.org/?rd="+r.Header.Get("X-Forwarded-Proto")+"://"+r.Header.Get("X-Forwarded-Host")+r.Header.Get("X-Forwarded-Uri"))
			http.SetCookie(w, &http.Cookie{Name: "csrf", Value: "1"})
			w.WriteHeader(302)
			io.WriteString(w, "log in")
			return
		}
		w.Header().Set("Remote-User", c.Value)
		http.SetCookie(w, &http.Cookie{Name: "session", Value: c.Value})
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func forwardConfig(t *testing.T, url, more string) string {
	return configOf(t, fmt.Sprintf("auth \"sso\" {\n  forward {\n    url = %q\n    copy = [\"Remote-User\", \"Remote-Groups\"]\n%s\n  }\n}\n", url, more))
}

// TestForwardAuth: what the service says counts, for each request and each client apart.
func TestForwardAuth(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	url, _ := sso(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso")}, forwardConfig(t, url, ""))
	for name, h := range webClients(t, address) {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
				a := request(t, h, method, "/a?b=c", "Remote-User: root")
				body := "log in"
				if method == "HEAD" {
					body = ""
				}
				if a.status != 302 || a.fields.Get("Location") != "https://login.example.org/?rd=http://"+authHost+"/a?b=c" || a.fields.Get("Set-Cookie") != "csrf=1" || a.body != body || a.fields.Get("X-Serai-Reason") != "auth-denied" {
					t.Errorf("%s: answered %d %q with %v", method, a.status, a.body, a.fields)
				}
			}
			a := request(t, h, "GET", "/", "Cookie: session=ann", "Remote-User: root", "remote_user: root", "Remote-Groups: admins", "REMOTE_GROUPS: admins")
			if a.status != 200 || a.body != "for ann" || a.fields.Get("Set-Cookie") != "session=ann" {
				t.Fatalf("answered %d %q with %v", a.status, a.body, a.fields)
			}
			for field, values := range i.last() {
				plain := strings.ReplaceAll(strings.ToLower(field), "_", "-")
				if plain == "remote-user" && !slices.Equal(values, []string{"ann"}) || plain == "remote-groups" {
					t.Errorf("the instance is told %s: %q", field, values)
				}
			}
			var all sync.WaitGroup
			for n := range 20 {
				all.Go(func() {
					who := fmt.Sprint("user", n)
					for range 20 {
						a := request(t, h, "GET", "/", "Cookie: session="+who)
						if a.status == 429 { // a client of its own for each user would not be
							continue
						}
						if a.body != "for "+who || a.fields.Get("Set-Cookie") != "session="+who || len(a.fields["Set-Cookie"]) != 1 {
							t.Errorf("%s gets %d %q with %q", who, a.status, a.body, a.fields["Set-Cookie"])
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// TestUpgradesBehindAuth: another protocol is behind the same door.
func TestUpgradesBehindAuth(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	url, _ := sso(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso")}, forwardConfig(t, url, ""))
	upgrade := func(fields string) (*http.Response, *bufio.Reader) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, Remote-User\r\nUpgrade: echo\r\nRemote-User: root\r\n%s\r\n", authHost, fields)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res, r
	}
	if res, _ := upgrade(""); res.StatusCode != 302 || i.count() != 0 {
		t.Errorf("answered %s without a session, %d requests reached the instance", res.Status, i.count())
	}
	res, r := upgrade("Cookie: session=ann\r\n")
	if res.StatusCode != 101 || res.Header.Get("Set-Cookie") != "session=ann" {
		t.Fatalf("answered %s with %v", res.Status, res.Header)
	}
	if hello, err := io.ReadAll(r); string(hello) != "hello" {
		t.Errorf("the tunnel brings %q, %v", hello, err)
	}
	if got := i.last()["Remote-User"]; !slices.Equal(got, []string{"ann"}) {
		t.Errorf("the instance is told %q", got)
	}
}

// TestAuthLoop: a service that is behind the same auth answers 508, and does so soon.
func TestAuthLoop(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	traffic := testnet.Address(t)
	services := filepath.Join(t.TempDir(), "services.json")
	replaceFile(t, services, fmt.Sprintf(`[{"ServiceName": "app", "Address": "127.0.0.1", "Port": %d, "Tags": ["ingress.host=127.0.0.1", "ingress.auth=sso"]}]`, i.port))
	start(t, nil, "serve", "--no-nomad", "--services="+services, "--http="+traffic, "--admin=", "--drain-delay=0s", forwardConfig(t, "http://"+traffic+"/verify", ""))
	until(t, "readiness", func() bool { status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); return status == 200 })
	status, body := get(traffic, "127.0.0.1", "/")
	if status != 508 || i.count() != 0 {
		t.Errorf("answered %d %q, %d requests reached the instance", status, body, i.count())
	}
}

// TestSlowAuthService: a service that never answers costs the routes that ask it, and
// nobody else; what it is not asked for is refused.
func TestSlowAuthService(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	stop := make(chan struct{})
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-stop:
		case <-r.Context().Done():
		}
		w.WriteHeader(403)
	}))
	t.Cleanup(s.Close)
	other := instance(t, "other", "ingress.host=other.example.org")
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso"), other}, forwardConfig(t, s.URL, `timeout = "1m"`), "--admin="+admin)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := webClients(t, address)["HTTP/1"]
	var all sync.WaitGroup
	var refused, denied atomic.Int64
	const flood = 300
	for range flood {
		all.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "GET", "http://"+authHost+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := h.Do(r)
			if err != nil {
				t.Errorf("a request: %v", err)
				return
			}
			res.Body.Close()
			switch res.StatusCode {
			case 429:
				refused.Add(1)
			case 403:
				denied.Add(1)
			default:
				t.Errorf("answered %d", res.StatusCode)
			}
		})
	}
	until(t, "the end of the requests that find no place", func() bool { return refused.Load() == flood-32 })
	for range 50 {
		if status, body := get(address, "other.example.org", "/"); status != 200 {
			t.Fatalf("another route is answered %d %s", status, body)
		}
	}
	if n := asked.Load(); n != 32 {
		t.Errorf("one client has the service asked %d times at once", n)
	}
	close(stop)
	all.Wait()
	if denied.Load() != 32 || i.count() != 0 {
		t.Errorf("%d were denied, %d reached the instance", denied.Load(), i.count())
	}
}

// TestClientLeavesWhileAsked: the service is left alone when nobody waits for its answer.
func TestClientLeavesWhileAsked(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	asked, left := make(chan struct{}, 2), make(chan struct{}, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	}))
	t.Cleanup(s.Close)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso")}, forwardConfig(t, s.URL, `timeout = "1m"`))
	for name, h := range webClients(t, address) {
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+authHost+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := h.Do(r)
			done <- err
		}()
		<-asked
		leave()
		if err := <-done; err == nil {
			t.Errorf("%s: there is an answer", name)
		}
		<-left
	}
	if i.count() != 0 {
		t.Error("a request reached the instance")
	}
}

// TestWaitingRequestIsAsked: a request that waits for an instance while its route gets an
// auth is asked, too.
func TestWaitingRequestIsAsked(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	services := filepath.Join(t.TempDir(), "services.json")
	write := func(port int, tags ...string) {
		text, err := json.Marshal([]map[string]any{{"ServiceName": "app", "Address": "127.0.0.1", "Port": port, "Tags": append([]string{"ingress.host=" + authHost, "ingress.wait=1m"}, tags...)}})
		if err != nil {
			t.Fatal(err)
		}
		replaceFile(t, services, string(text))
	}
	write(testnet.Ports(t, 1)[0]) // where nobody listens
	traffic, admin := testnet.Address(t), testnet.Address(t)
	start(t, nil, "serve", "--no-nomad", "--services="+services, "--http="+traffic, "--admin="+admin, "--drain-delay=0s", basicConfig(t, usersFile(t, "ann:a")))
	until(t, "readiness", func() bool { status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); return status == 200 })
	answered := make(chan int, 1)
	go func() {
		status, _ := get(traffic, authHost, "/")
		answered <- status
	}()
	until(t, "the request that waits", func() bool { return strings.Contains(metric(admin, "serai_requests_in_flight"), " 1") })
	write(i.port, "ingress.auth=corp")
	if status := <-answered; status != 401 || i.count() != 0 {
		t.Errorf("answered %d, %d requests reached the instance", status, i.count())
	}
}

// TestAuthBlocks: what is wrong in a config file is told with its line, and without its
// secrets.
func TestAuthBlocks(t *testing.T) {
	users := usersFile(t, "ann:a")
	bad := filepath.Join(t.TempDir(), "bad")
	replaceFile(t, bad, "ann:secret\n")
	for text, want := range map[string]string{
		`basic {}`: "users_file or users_variable is missing",
		`basic { users_file = "/nowhere/users" }`:                              "no such file",
		`basic { users_file = "` + bad + `" }`:                                 "line 1 has plain text",
		`basic { users_file = "` + users + `", realms = "x" }`:                 "",
		"basic {\n users_file = \"" + users + "\"\n realms = \"x\"\n }":        `did you mean "realm"?`,
		"basic {\n users_file = [\"a\", \"b\"]\n }":                            "wants one value",
		"basic {\n users_file = \"" + users + "\"\n keep = \"yes\"\n }":        "keep wants true or false",
		"basic {\n users_file = \"" + users + "\"\n user_field = \"Host\"\n }": "user_field",
		`forward {}`: "url or service is missing",
		`forward { url = "http://u:secret@a.test" }`:                                             "user or a password",
		`forward { url = "a.test/secret" }`:                                                      "not an absolute URL",
		"forward {\n url = \"http://a.test\"\n copy = [\"Host\"]\n }":                            "not a field that a policy may set",
		"forward {\n url = \"http://a.test\"\n timeout = \"soon\"\n }":                           "timeout wants a duration",
		"forward {\n url = \"http://a.test\"\n max_inflight = -1\n }":                            "at least 1",
		"basic {\n users_file = \"" + users + "\"\n }\n forward {\n url = \"http://a.test\"\n }": "one block",
		`ldap {}`: "basic, forward",
		``:        "one block",
	} {
		path := strings.TrimPrefix(configOf(t, "auth \"corp\" {\n"+text+"\n}\n"), "--config=")
		_, err := readConfig(path, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "serai.hcl:") {
			t.Errorf("%s\n%v\nwant %q", text, err, want)
		}
	}
}

// TestServiceThatClosesItsConnections: a service that ends each connection without saying so
// refuses nobody by that.
func TestServiceThatClosesItsConnections(t *testing.T) {
	t.Parallel()
	i, verify := newGuardedInstance(t), newStage(t)
	verify.begin(letsIn + closes)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso")}, forwardConfig(t, "http://"+verify.listener.Addr().String(), ""))
	h := webClients(t, address)["HTTP/1"]
	for n := range 100 {
		if a := request(t, h, "GET", "/"); a.status != 200 || a.body != "for ann" {
			t.Fatalf("request %d is answered %d %q", n, a.status, a.body)
		}
	}
}
