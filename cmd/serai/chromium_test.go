package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"serai/internal/testnet"
	"serai/nomad"
)

// chromiumPage has 200 small files, scripts and styles, fetches many things at once, from its own
// host and from one that the certificate of the connection names, too, talks over a WebSocket, and
// tells what came of it.
const chromiumPage = `<!doctype html><meta charset=utf-8><script>
const other = "https://b.example.org:" + location.port;
performance.setResourceTimingBufferSize(1000);
const loaded = {};
function file(i) {
	return new Promise((done, failed) => {
		const e = document.createElement(i % 2 ? "script" : "link");
		e.onload = done;
		e.onerror = () => failed("file " + i);
		if (i % 2) e.src = "/f/" + i + ".js"; else { e.rel = "stylesheet"; e.href = "/f/" + i + ".css"; }
		document.head.append(e);
	});
}
async function text(url) { const r = await fetch(url, {credentials: "include"}); return r.status + " " + await r.text(); }
function talk() {
	return new Promise((done, failed) => {
		const s = new WebSocket("wss://" + location.host + "/ws");
		s.onopen = () => s.send("grüße " + "x".repeat(100000));
		s.onmessage = m => { s.close(); done(m.data.length); };
		s.onerror = () => failed("the WebSocket failed");
	});
}
async function all() {
	await Promise.all(Array.from({length: 200}, (_, i) => file(i)));
	const files = Object.keys(loaded).length + document.styleSheets.length;
	const texts = await Promise.all(Array.from({length: 100}, (_, i) => text("/n/" + i)));
	const sent = await (await fetch("/length", {method: "POST", body: new Blob([new Uint8Array(300000)])})).text();
	const elsewhere = await Promise.all(Array.from({length: 5}, (_, i) => text(other + "/n/" + i)));
	const talked = await talk();
	const over = {};
	for (const e of performance.getEntriesByType("resource")) if (e.name.includes("/n/") || e.name.includes("/f/")) over[e.nextHopProtocol] = (over[e.nextHopProtocol] || 0) + 1;
	return {wrong: texts.concat(elsewhere).filter((t, i) => t != "200 it is " + (i % 100)).length, sent, talked, over, files};
}
all().catch(e => ({failed: String(e)})).then(seen => fetch("/seen", {method: "POST", body: JSON.stringify(seen)}));
</script>`

// seenByChromium is what the page tells.
type seenByChromium struct {
	Failed string         `json:"failed"`
	Wrong  int            `json:"wrong"`
	Sent   string         `json:"sent"`
	Talked int            `json:"talked"`
	Files  int            `json:"files"`
	Over   map[string]int `json:"over"`
}

// TestChromium has a browser ask over HTTP/2: a page of 200 small files, many requests at once, an upload, a WebSocket
// over HTTP/2 (RFC 8441), and another host, for which it makes a connection of its own: that the
// first one would be answered 421 is in TestHTTP2.
func TestChromium(t *testing.T) {
	t.Parallel()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("not run: there is no chromium in PATH")
	}
	told := make(chan seenByChromium, 1)
	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, chromiumPage)
	})
	m.HandleFunc("/n/{n}", func(w http.ResponseWriter, r *http.Request) {
		// As the connection is for requests with credentials, it is only used again for such.
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Timing-Allow-Origin", "*")
		fmt.Fprint(w, "it is ", r.PathValue("n"))
	})
	m.HandleFunc("/f/{name}", func(w http.ResponseWriter, r *http.Request) {
		name, script := strings.CutSuffix(r.PathValue("name"), ".js")
		w.Header().Set("Content-Type", "text/css")
		content := "body { color: red }"
		if script {
			w.Header().Set("Content-Type", "text/javascript")
			content = "loaded[" + name + "] = true"
		}
		fmt.Fprint(w, content)
	})
	m.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.ContentLength) })
	m.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := ws.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		if kind, text, err := c.Read(r.Context()); err == nil && c.Write(r.Context(), kind, text) == nil {
			c.Read(r.Context()) // until it is closed
		}
	})
	m.HandleFunc("/seen", func(_ http.ResponseWriter, r *http.Request) {
		var s seenByChromium
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			s.Failed = err.Error()
		}
		told <- s
	})
	web := httptest.NewServer(m)
	defer web.Close()

	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "a.example.org", "a.example.org", "b.example.org")
	issuer.write(t, dir, "b.example.org", "b.example.org")
	secure, log := testnet.Address(t), filepath.Join(t.TempDir(), "log")
	at := web.Listener.Addr().(*net.TCPAddr)
	serveStatic(t, []nomad.Registration{{
		ID: "web", ServiceName: "web", Namespace: "default", AllocID: "a", Address: "127.0.0.1", Port: at.Port, Tags: []string{"ingress.host=a.example.org", "ingress.b.host=b.example.org"},
	}}, "--https="+secure, "--cert-dir="+dir, "--access-log="+log)

	_, port, _ := net.SplitHostPort(secure)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	home := t.TempDir()
	run := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+home, "--host-resolver-rules=MAP *.example.org 127.0.0.1", "--ignore-certificate-errors-spki-list="+keysOf(t, dir), "--remote-debugging-port=0",
		"https://a.example.org:"+port+"/")
	run.Env = append(os.Environ(), "HOME="+home)
	run.WaitDelay = time.Second
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	var seen seenByChromium
	select {
	case seen = <-told:
		cancel()
		<-ended
	case err := <-ended:
		t.Fatalf("chromium has ended with %v", err)
	}
	if seen.Failed != "" || seen.Wrong != 0 || seen.Sent != "300000" || seen.Talked != len([]rune("grüße "))+100000 {
		t.Errorf("it has seen %+v", seen)
	}
	if seen.Files != 200 {
		t.Errorf("it has loaded %d files of its page", seen.Files)
	}
	if seen.Over["h2"] != 305 {
		t.Errorf("its requests went over %v", seen.Over)
	}
	until(t, "the WebSocket's line of the access log", func() bool { return logLines(t, log, `"path":"/ws"`) != "" })
	if got := logLines(t, log, `"path":"/ws"`); !strings.Contains(got, `"protocol":"HTTP/2.0"`) {
		t.Errorf("the WebSocket is logged as %q", got)
	}
}

// logLines returns the lines of the access log that have a part.
func logLines(t *testing.T, file, part string) string {
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var some []string
	for line := range strings.Lines(string(all)) {
		if strings.Contains(line, part) {
			some = append(some, line)
		}
	}
	return strings.Join(some, "")
}

// keysOf is the list of the certificates' keys, as Chromium takes it: it trusts these.
func keysOf(t *testing.T, dir string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.crt"))
	var keys []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		keys = append(keys, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(keys, ",")
}
