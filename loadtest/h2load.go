package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	h2loadRate  = regexp.MustCompile(`finished in ([0-9.]+)(ms|s|m), `)
	h2loadCount = regexp.MustCompile(`requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded`)
	h2loadBytes = regexp.MustCompile(`traffic: .*\((\d+)\) data`)
)

// newH2load makes a generator with h2load of nghttp2, which leaves most of the core to
// the origin. h2load does not check the status of gRPC: a call without its message
// counts as failed.
func newH2load(ctx context.Context, h2load string, a ask) (*generator, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", a.conns), fmt.Sprintf("-m%d", a.streams), fmt.Sprintf("-D%d", wholeSeconds(a.lasts)), "-H", ":authority: web.loadtest"}
	var files []string
	keep := func(content []byte) (string, error) {
		f, err := os.CreateTemp("", "loadtest*.h2load")
		if err != nil {
			return "", err
		}
		files = append(files, f.Name())
		_, err = f.Write(content)
		return f.Name(), errors.Join(err, f.Close())
	}
	var sent []byte
	switch {
	case a.grpc:
		sent = message()
		args = append(args, "-H", "content-type: "+typeGRPC, "-H", "te: trailers")
	case a.body > 0:
		sent = body(a.body)
	}
	if sent != nil {
		name, err := keep(sent)
		if err != nil {
			return nil, err
		}
		args = append(args, "-d", name)
	}
	log := ""
	if a.rate > 0 {
		var err error
		if log, err = keep(nil); err != nil {
			return nil, err
		}
		args = append(args, fmt.Sprintf("--rps=%f", a.rate/float64(a.conns)), "--log-file="+log)
	}
	// Clients name the host that they want in their handshake, too.
	url := a.url
	if address, secure := strings.CutPrefix(url, "https://"); secure {
		address, path, _ := strings.Cut(address, "/")
		args, url = append(args, "--connect-to="+address), "https://web.loadtest/"+path
	}
	g := newGenerator(pinned(ctx, otherCore, h2load, append(args, url)...), func(out string) (seen, error) {
		s, err := readH2load(out, log)
		if a.grpc {
			s.Failed += max(0, s.Requests-s.Bytes/int64(len(sent)))
		}
		return s, err
	})
	g.files = files
	return g, nil
}

// readH2load reads what h2load prints, and times from its log if there is one.
func readH2load(out, log string) (s seen, err error) {
	took, count := h2loadRate.FindStringSubmatch(out), h2loadCount.FindStringSubmatch(out)
	if took == nil || count == nil || !strings.Contains(out, "Application protocol: h2") {
		return s, fmt.Errorf("h2load did not speak HTTP/2, or tells it otherwise: %s", out)
	}
	s.Seconds, _ = strconv.ParseFloat(took[1], 64)
	switch took[2] {
	case "ms":
		s.Seconds /= 1000
	case "m":
		s.Seconds *= 60
	}
	s.Requests, _ = strconv.ParseInt(count[1], 10, 64)
	good, _ := strconv.ParseInt(count[2], 10, 64)
	s.Failed = s.Requests - good
	if data := h2loadBytes.FindStringSubmatch(out); data != nil {
		s.Bytes, _ = strconv.ParseInt(data[1], 10, 64)
	}
	if log == "" {
		return s, nil
	}
	return s, s.readTimes(log)
}

// readTimes reads h2load's log: start, status and microseconds of each request. h2load
// sends a request when it is due, unless all streams are in use.
func (s *seen) readTimes(log string) error {
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	watch := newStopwatch()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		columns := strings.Split(lines.Text(), "\t")
		if len(columns) < 3 {
			continue
		}
		took, err := strconv.ParseInt(columns[2], 10, 64)
		if err != nil {
			return fmt.Errorf("h2load logged %q", lines.Text())
		}
		watch.add(time.Duration(took)*time.Microsecond, nil)
	}
	times := watch.seen()
	s.P50, s.P99, s.P999 = times.P50, times.P99, times.P999
	return nil
}

// findH2load looks for it.
func findH2load() (path string, ok bool) {
	path, err := exec.LookPath("h2load")
	return path, err == nil
}
