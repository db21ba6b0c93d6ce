package http2_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/upstream"
	"serai/upstream/http2"
)

// TestNginx has a real instance that closes a connection in order after some requests,
// while more are on their way: each of them is answered.
func TestNginx(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program = "/usr/sbin/nginx"; exec.Command(program, "-v").Run() != nil {
			t.Skip("there is no nginx")
		}
	}
	dir := t.TempDir()
	address := testnet.Address(t)
	large := strings.Repeat("0123456789abcdef", 100_000)
	if err := os.WriteFile(filepath.Join(dir, "large"), []byte(large), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error;
events {}
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server {
		listen %[2]s http2; keepalive_requests 20; http2_max_concurrent_streams 8;
		location / { return 200 "$request_method $uri $http_x_own"; }
		location = /large { root %[1]s; }
		location = /length { return 200 "$content_length"; }
	}
}`, dir, address)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	nginx := exec.Command(program, "-c", file, "-p", dir)
	out := new(strings.Builder)
	nginx.Stdout, nginx.Stderr = out, out
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); nginx.Wait() }()
	t.Cleanup(func() { nginx.Process.Kill(); <-exited })
	until(t, "nginx to listen", func() bool {
		select {
		case <-exited:
			t.Skipf("this nginx does not take the configuration: %s", out)
		default:
		}
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	e := endpoint(t, upstream.Target{Address: address, Scheme: upstream.H2C}, upstream.RegistryOptions{Transport: http2.New(http2.Options{})})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for j := range 20 {
				var a upstream.Answer
				r := request(&asking{}, "POST", fmt.Sprintf("/a/%d/%d", i, j))
				r.Head.Fields = append(r.Head.Fields, field("X-Own", "mine"))
				if f := e.Transport().RoundTrip(r, &a); f != nil {
					t.Errorf("failed: %+v", f)
					return
				}
				if got := readAll(&a); got.body != fmt.Sprintf("POST /a/%d/%d mine", i, j) || got.err != nil {
					t.Errorf("answered %q, %v", got.body, got.err)
				}
			}
		})
	}
	all.Wait()
	if got := roundTrip(t, e, request(&asking{}, "GET", "/large")); got.body != large || got.err != nil {
		t.Errorf("%d bytes of the file, %v", len(got.body), got.err)
	}
	if got := roundTrip(t, e, request(&asking{}, "HEAD", "/large")); got.head.Size != int64(len(large)) || got.body != "" {
		t.Errorf("HEAD says %+v", got.head)
	}
}
