package tls_test

import (
	stdtls "crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"serai/tls"
)

// TestGroupKeysTurn: without a shared store, a session of names that demand client
// certificates can be resumed for a day, although the newest key has changed, and not
// for two days: a leaked key opens no older tickets.
func TestGroupKeysTurn(t *testing.T) {
	ca, _ := pair(t, nextYear, "ca.test")
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	clients, err := tls.NewClients([]tls.ClientRule{{Hosts: []string{"a.test"}, CAFile: file, Optional: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			s := tls.NewStore()
			s.Set("test", []*tls.Certificate{certificate(t, "a", time.Now().AddDate(1, 0, 0), "a.test")}, nil)
			server := s.Config(tls.ConfigOptions{Protocols: []string{"http/1.1"}, Clients: clients})
			// again offers the first session, whatever tickets came since.
			var began *stdtls.ClientSessionState
			again := func() bool {
				cache := stdtls.NewLRUClientSessionCache(1)
				if began != nil {
					cache.Put("a.test", began)
				}
				state, err := inBubble(server, &stdtls.Config{ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: cache, MaxVersion: version})
				if err != nil {
					t.Fatal(err)
				}
				if began == nil {
					began, _ = cache.Get("a.test")
				}
				return state.DidResume
			}
			again()
			for _, c := range []struct {
				after   time.Duration
				resumes bool
			}{{time.Minute, true}, {13 * time.Hour, true}, {12 * time.Hour, true}, {13 * time.Hour, false}} {
				time.Sleep(c.after)
				if got := again(); got != c.resumes {
					t.Errorf("%s, %v later: resumed %v, want %v", stdtls.VersionName(version), c.after, got, c.resumes)
				}
			}
			// Also after a long time without handshakes.
			began = nil
			again()
			time.Sleep(40 * time.Hour)
			if again() {
				t.Error("a key of the day before yesterday opens a session")
			}
		})
	}
}

// inBubble makes a handshake over a pipe.
func inBubble(server, client *stdtls.Config) (stdtls.ConnectionState, error) {
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		s := stdtls.Server(b, server)
		if s.Handshake() == nil {
			s.Write([]byte("x"))
		}
	}()
	defer func() { a.Close(); <-done }()
	conn := stdtls.Client(a, client)
	if err := conn.Handshake(); err != nil {
		return stdtls.ConnectionState{}, err
	}
	_, err := conn.Read(make([]byte, 1))
	return conn.ConnectionState(), err
}
