package certstore_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
	"serai/tls/certstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds every wait: the lock of a real agent expires after 21 s.
const testTimeout = 45 * time.Second

// eachStore runs a test with every kind of store that is available. Another opens it
// like another serai.
func eachStore(t *testing.T, test func(t *testing.T, another func() certstore.Store)) {
	variables := func(t *testing.T, url string) func() certstore.Store {
		return func() certstore.Store {
			client, err := nomad.NewClient(nomad.Options{Address: url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.CloseIdleConnections)
			return &certstore.Variables{Client: client, Prefix: "serai"}
		}
	}
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func() certstore.Store {
			d, err := certstore.NewDirectory(dir)
			if err != nil {
				t.Fatal(err)
			}
			return d
		})
	})
	t.Run("simulator", func(t *testing.T) {
		_, url, _ := nomadtest.Simulator(t)
		test(t, variables(t, url))
	})
	t.Run("real agent", func(t *testing.T) {
		test(t, variables(t, nomadtest.Server(t)))
	})
}

func TestRecords(t *testing.T) {
	eachStore(t, func(t *testing.T, another func() certstore.Store) {
		s, ctx := another(), context.Background()
		path := certstore.Path("tls", "certs", "ca", "a.example.org")
		if _, err := s.Get(ctx, path); !errors.Is(err, certstore.ErrNotFound) {
			t.Errorf("read of nothing: %v", err)
		}
		items := map[string]string{"name": "a.example.org", "crt": "line 1\nline 2\n", "sign": "=~/\u00e9"}
		first, err := s.Put(ctx, path, items, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, get := range []func() (*certstore.Record, error){
			func() (*certstore.Record, error) { return s.Get(ctx, path) },
			func() (*certstore.Record, error) { return s.Read(ctx, path, first) },
			func() (*certstore.Record, error) { return another().Read(ctx, path, certstore.Newest) },
		} {
			if r, err := get(); err != nil || !maps.Equal(r.Items, items) || r.Version != first || r.Path != path {
				t.Errorf("read of what was written: %+v, %v", r, err)
			}
		}
		for name, version := range map[string]uint64{"one that must not be there": 0, "another version": first + 7} {
			if _, err := s.Put(ctx, path, map[string]string{"k": "v"}, version); !errors.Is(err, certstore.ErrConflict) {
				t.Errorf("write over %s: %v", name, err)
			}
		}
		second, err := s.Put(ctx, path, map[string]string{"k": "v"}, first)
		if err != nil || second == first {
			t.Errorf("write over the version that is there: %d, %v", second, err)
		}
		if _, err := s.Put(ctx, certstore.Path("tls", "other"), items, 7); !errors.Is(err, certstore.ErrConflict) {
			t.Errorf("write over a version of nothing: %v", err)
		}
		if err := s.Delete(ctx, path); err != nil {
			t.Error(err)
		}
		if err := s.Delete(ctx, path); err != nil {
			t.Errorf("deleting what is gone: %v", err)
		}
		if _, err := s.Get(ctx, path); !errors.Is(err, certstore.ErrNotFound) {
			t.Errorf("read of what is gone: %v", err)
		}
	})
}

// TestListWaits sees what another serai writes, and only below its path.
func TestListWaits(t *testing.T) {
	eachStore(t, func(t *testing.T, another func() certstore.Store) {
		mine, others := another(), another()
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		put := func(path string) uint64 {
			version, err := others.Put(ctx, path, map[string]string{"k": "v"}, 0)
			if err != nil {
				t.Error(err)
			}
			return version
		}
		a, b := certstore.Path("tls", "a"), certstore.Path("tls", "b")
		version := put(a)
		put(certstore.Path("tlsx"))
		list, index, err := mine.List(ctx, "tls", 0)
		if err != nil || len(list) != 1 || list[0] != (certstore.Entry{Path: a, Version: version}) || index == 0 {
			t.Fatalf("list: %v at %d, %v", list, index, err)
		}
		go put(b)
		for len(list) < 2 {
			if list, index, err = mine.List(ctx, "tls", index); err != nil {
				t.Fatal(err)
			}
		}
		if list[0].Path != a || list[1].Path != b {
			t.Errorf("list after a change: %v", list)
		}
		end, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		defer stop()
		if list, _, err := mine.List(end, "tls", index); err == nil {
			t.Errorf("the list did not wait: %v", list)
		}
	})
}

// TestListNewest contains each write of another process at once.
func TestListNewest(t *testing.T) {
	eachStore(t, func(t *testing.T, another func() certstore.Store) {
		mine, other := another(), another()
		for n := range 5 {
			path := certstore.Path("acme", strconv.Itoa(n))
			version, err := other.Put(t.Context(), path, map[string]string{"name": "x"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			list, err := mine.ListNewest(t.Context(), "acme")
			if err != nil || len(list) != n+1 || !slices.Contains(list, certstore.Entry{Path: path, Version: version}) {
				t.Errorf("after %d writes the list is %v, %v", n+1, list, err)
			}
		}
	})
}

// TestOneLeads has five serai elect a leader again and again: there is never more than
// one, and soon there is another one.
func TestOneLeads(t *testing.T) {
	eachStore(t, func(t *testing.T, another func() certstore.Store) {
		var leading atomic.Int32
		var running sync.WaitGroup
		type member struct {
			name string
			end  context.CancelFunc
		}
		elected := make(chan member)
		ctx, cancel := context.WithCancel(context.Background())
		defer running.Wait()
		defer cancel()
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			s := another()
			own, end := context.WithCancel(ctx)
			running.Go(func() {
				err := s.Lead(own, name, func(ctx context.Context) {
					if n := leading.Add(1); n != 1 {
						t.Errorf("%d lead at once", n)
					}
					select {
					case elected <- member{name, end}:
					case <-ctx.Done():
					}
					<-ctx.Done()
					leading.Add(-1)
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s stopped to lead: %v", name, err)
				}
			})
		}
		for range 5 {
			select {
			case m := <-elected:
				for end := time.Now().Add(testTimeout); ; time.Sleep(5 * time.Millisecond) {
					if name, err := another().Leader(ctx); err == nil && name == m.name {
						break
					} else if time.Now().After(end) {
						t.Errorf("the leader is called %q (%v), want %q", name, err, m.name)
						break
					}
				}
				m.end() // which releases the lock
			case <-time.After(testTimeout):
				t.Fatal("nobody leads")
			}
		}
	})
}

// TestLeaderVanishes lets the lock of a silent holder expire.
func TestLeaderVanishes(t *testing.T) {
	if testing.Short() {
		t.Skip("a real lock runs out after 21 s")
	}
	for _, name := range []string{"simulator", "real agent"} {
		t.Run(name, func(t *testing.T) {
			var sim *nomadsim.Sim
			var url string
			if name == "simulator" {
				sim, url, _ = nomadtest.Simulator(t)
			} else {
				url = nomadtest.Server(t)
			}
			client, err := nomad.NewClient(nomad.Options{Address: url})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			// One that acquired the lock and then vanished.
			lock := nomad.Lock{Path: "serai/leader", ID: nomad.NewLockID(), TTL: 10 * time.Second, Delay: time.Second}
			if err := client.AcquireLock(context.Background(), lock, map[string]string{"holder": "gone", "term": "x"}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
			defer cancel()
			began, led := time.Now(), make(chan struct{})
			var running sync.WaitGroup
			defer running.Wait()
			running.Go(func() {
				s := &certstore.Variables{Client: client, Prefix: "serai"}
				s.Lead(ctx, "next", func(ctx context.Context) { close(led); <-ctx.Done() })
			})
			if sim != nil {
				time.Sleep(100 * time.Millisecond)
				select {
				case <-led:
					t.Error("two hold the lock")
				default:
				}
				sim.Advance(22 * time.Second)
			}
			select {
			case <-led:
				t.Logf("another led after %v", time.Since(began))
			case <-ctx.Done():
				t.Error("nobody leads after the lock ran out")
			}
			cancel()
		})
	}
}

// TestLeaderIsCutOff: a leader that cannot renew the lock stops leading before another
// can acquire it, and leads again afterwards.
func TestLeaderIsCutOff(t *testing.T) {
	sim, url, _ := nomadtest.Simulator(t)
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	led, lost := make(chan struct{}, 9), make(chan struct{}, 9)
	running.Go(func() {
		s := &certstore.Variables{Client: client, Prefix: "serai", TTL: 10 * time.Second, Delay: time.Second}
		s.Lead(ctx, "me", func(ctx context.Context) { led <- struct{}{}; <-ctx.Done(); lost <- struct{}{} })
	})
	<-led
	end := sim.Inject(nomad.KindLock, nomadsim.NoLeader())
	select {
	case <-lost:
	case <-ctx.Done():
		t.Fatal("it leads without a lock")
	}
	end()
	sim.Advance(22 * time.Second)
	select {
	case <-led:
	case <-ctx.Done():
		t.Fatal("it does not lead again")
	}
}

func TestPath(t *testing.T) {
	long := strings.Repeat("a.", 120) + "org"
	seen := map[string]string{}
	for _, parts := range [][]string{
		{"tls", "certs", "ca", "a.example.org"}, {"tls", "certs", "ca", "a-example-org"}, {"tls", "certs", "ca", "a~dexample.org"},
		{"tls", "certs", "ca", long}, {"tls", "certs", "ca", long + "x"}, {"tls", "certs", long, "a"}, {"tls", "certs", "", "a"}, {"a", "b"}, {"a/b"},
		{"tls", "certs", "ca", "\x00\xff"}, {"tls", "certs", "ca", "*.example.org"}, {"tls", "certs", "ca", ".."},
	} {
		path := certstore.Path(parts...)
		if other, twice := seen[path]; twice {
			t.Errorf("%q and %q have the same path", parts, other)
		}
		seen[path] = strings.Join(parts, "|")
		if full := "serai/" + path; len(full) > 128 || strings.ContainsAny(full, ".*@\x00") || strings.Contains(full, "//") {
			t.Errorf("%q becomes %q, which Nomad does not take", parts, full)
		}
	}
}

// TestDirectoryKeepsToItself checks modes, and files that are not its own.
func TestDirectoryKeepsToItself(t *testing.T) {
	dir := t.TempDir()
	d, err := certstore.NewDirectory(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	path := certstore.Path("tls", "certs", "ca", "a.example.org")
	if _, err := d.Put(context.Background(), path, map[string]string{"key": "secret"}, 0); err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if info, _ := e.Info(); name != dir && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may read it", name, info.Mode())
		}
		return err
	})
	file := filepath.Join(dir, "store", path+".json")
	os.WriteFile(file, []byte(strings.Repeat(" ", 2<<20)), 0o600)
	if _, err := d.Get(context.Background(), path); err == nil || errors.Is(err, certstore.ErrNotFound) {
		t.Errorf("a huge record: %v", err)
	}
	// One that is damaged can be replaced.
	os.WriteFile(file, []byte("{"), 0o600)
	r, err := d.Get(context.Background(), path)
	if err != nil || len(r.Items) != 0 {
		t.Fatalf("a damaged record: %+v, %v", r, err)
	}
	if _, err := d.Put(context.Background(), path, map[string]string{"k": "v"}, r.Version); err != nil {
		t.Errorf("a damaged record is not replaced: %v", err)
	}
}

func TestSealer(t *testing.T) {
	a, err := certstore.NewSealer([]byte("sixteen bytes and more"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := certstore.NewSealer([]byte("another secret of that length"))
	var none *certstore.Sealer
	sealed := a.Seal("path", "key", "secret")
	if strings.Contains(sealed, "secret") || sealed == a.Seal("path", "key", "secret") {
		t.Errorf("%q is not sealed, or always the same", sealed)
	}
	if open, err := a.Open("path", "key", sealed); err != nil || open != "secret" {
		t.Errorf("opened: %q, %v", open, err)
	}
	for name, try := range map[string]func() (string, error){
		"another key":   func() (string, error) { return b.Open("path", "key", sealed) },
		"no key":        func() (string, error) { return none.Open("path", "key", sealed) },
		"another path":  func() (string, error) { return a.Open("other", "key", sealed) },
		"another item":  func() (string, error) { return a.Open("path", "crt", sealed) },
		"changed":       func() (string, error) { return a.Open("path", "key", sealed[:len(sealed)-6]+"AAAAAA") },
		"not base64":    func() (string, error) { return a.Open("path", "key", "sealed:1:!") },
		"nothing in it": func() (string, error) { return a.Open("path", "key", "sealed:1:") },
	} {
		if open, err := try(); !errors.Is(err, certstore.ErrSealed) {
			t.Errorf("%s: %q, %v", name, open, err)
		}
	}
	if open, err := a.Open("path", "key", "never sealed"); err != nil || open != "never sealed" {
		t.Errorf("a value that was never sealed: %q, %v", open, err)
	}
	if _, err := certstore.NewSealer([]byte("short")); err == nil {
		t.Error("a short secret was taken")
	}
}
