package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"serai/internal/freeport"
)

// process is a serai, watched from outside.
type process struct {
	binary              string
	args, env           []string
	plain, secure, http string // addresses; http is that of the admin
	stderr              tail
	client              *http.Client

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
	answers bool          // its admin address has answered since its start
	err     error         // of its end
}

// tail keeps the first and the last of what is written.
type tail struct {
	mu          sync.Mutex
	first, last []byte
}

const kept = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(p), kept-len(t.first))
	t.first = append(t.first, p[:n]...)
	t.last = append(t.last, p[n:]...)
	if len(t.last) > 2*kept {
		t.last = bytes.Clone(t.last[len(t.last)-kept:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.first) + string(t.last)
}

// newProcess prepares a serai of a program.
func newProcess(binary string, p *Program, c *cluster, certificates string) (_ *process, err error) {
	s := &process{binary: binary, client: &http.Client{Timeout: 5 * time.Second}}
	for _, a := range []*string{&s.plain, &s.secure, &s.http} {
		if *a, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	s.args = append([]string{"serve", "--http=" + s.plain, "--https=" + s.secure, "--admin=" + s.http, "--services=" + c.file(),
		"--cert-dir=" + certificates, "--node=node-0", "--log-level=WARN"}, p.Flags...)
	if p.Config {
		if err := c.writeConfig(goodConfig); err != nil {
			return nil, err
		}
		s.args = append(s.args, "--config="+c.configFile())
	}
	if p.Files > 0 {
		s.binary = "/bin/sh"
		s.args = append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, p.Files), binary}, s.args...)
	}
	s.env = append(os.Environ(), "NOMAD_ADDR="+c.nomad, "NOMAD_TOKEN=")
	return s, nil
}

// freeAddress returns an address that nobody uses, and that nobody else is given.
func freeAddress() (string, error) {
	port, err := freeport.Take()
	return freeport.Address(port), err
}

// start runs it and waits until it knows the services. An address that was free may
// have been taken meanwhile, for a moment, by another program: that is no fault of serai.
func (s *process) start(ctx context.Context) (err error) {
	for range 20 {
		err = s.startOnce(ctx)
		if err == nil || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}

func (s *process) startOnce(ctx context.Context) error {
	cmd := exec.Command(s.binary, s.args...)
	cmd.Env, cmd.Stderr, cmd.Stdout = s.env, &s.stderr, &s.stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start serai: %w", err)
	}
	exited := make(chan struct{})
	s.mu.Lock()
	s.cmd, s.exited, s.answers = cmd, exited, false
	s.mu.Unlock()
	go func() {
		err := cmd.Wait()
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		close(exited)
	}()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if res, err := s.client.Get("http://" + s.http + "/ready"); err == nil {
			res.Body.Close()
			s.mu.Lock()
			s.answers = true
			s.mu.Unlock()
			if res.StatusCode == 200 {
				return nil
			}
		}
		select {
		case <-exited:
			return fmt.Errorf("serai has ended at its start: %s", s.stderr.String())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("serai is not ready within 20 s")
}

// end sends a signal, waits for the end, and returns its error.
func (s *process) end(signal syscall.Signal, within time.Duration) error {
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	cmd.Process.Signal(signal)
	select {
	case <-exited:
	case <-time.After(within):
		cmd.Process.Kill()
		<-exited
		return fmt.Errorf("it has not ended within %v", within)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// hangup makes it read its config file again. Before its first lines of code a program
// cannot keep the signal from ending it, so until it answers it gets none.
func (s *process) hangup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil && s.answers {
		s.cmd.Process.Signal(syscall.SIGHUP)
	}
}

// alive reports whether it runs.
func (s *process) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// metrics reads /metrics: values by the line in front of them.
func (s *process) metrics() (map[string]float64, error) {
	res, err := s.client.Get("http://" + s.http + "/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		return nil, err
	}
	values := make(map[string]float64)
	for line := range strings.Lines(text.String()) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			values[line[:at]], _ = strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		}
	}
	return values, nil
}

// rejections reads what tags were refused, by service.
func (s *process) rejections() (map[string]string, error) {
	res, err := s.client.Get("http://" + s.http + "/rejections")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var list []struct{ Service, Tag, Why, Instead string }
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return nil, err
	}
	refused := make(map[string]string)
	for _, r := range list {
		refused[r.Service] = fmt.Sprintf("%+v", r)
	}
	return refused, nil
}

// members asks how the instances are.
func (s *process) members() ([]member, error) {
	res, err := s.client.Get("http://" + s.http + "/instances")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	list := []member{}
	err = json.NewDecoder(res.Body).Decode(&list)
	return list, err
}

// sum adds the values of a metric whose labels contain all of with.
func sum(values map[string]float64, name string, with ...string) (total float64) {
next:
	for line, v := range values {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest != "" && rest[0] != '{' {
			continue
		}
		for _, w := range with {
			if !strings.Contains(rest, w) {
				continue next
			}
		}
		total += v
	}
	return total
}

// descriptors counts those that it has open.
func (s *process) descriptors() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	open, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "fd"))
	return len(open)
}
