// Package admin answers: is it well, and what does it know?
//
// It serves health, readiness, metrics, and what the router and the endpoints
// know, for people and for scrapers. It changes nothing.
package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"serai/discovery"
	"serai/proxy"
	"serai/proxy/http1"
	"serai/router"
	"serai/upstream"
)

// Reporter is a source that tells how it is. *discovery.Watcher and
// *discovery.File are.
type Reporter interface{ Status() []discovery.Status }

// Listener is one traffic listener.
type Listener struct {
	Name   string
	Status func() http1.ServerStatus
}

// Options is what is reported on.
type Options struct {
	Router   *router.Router     // required
	Registry *upstream.Registry // required
	Proxy    *proxy.Proxy       // required
	Sources  []Reporter
	// Listeners take requests.
	Listeners []Listener
	// AccessLogDropped counts lost lines, nil without an access log.
	AccessLogDropped func() uint64
	Version          string
	Logger           *slog.Logger
}

// Admin tells what it is asked. All methods may be called at the same time.
type Admin struct {
	options   Options
	published atomic.Bool
	draining  atomic.Bool
	metrics   *metrics
}

// New makes an Admin.
func New(o Options) (*Admin, error) {
	if o.Router == nil || o.Registry == nil || o.Proxy == nil {
		return nil, errors.New("admin options: router, registry and proxy are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Admin{options: o}
	a.metrics = newMetrics(a)
	return a, nil
}

// Published tells of a table that was made from s.
func (a *Admin) Published(s *discovery.Snapshot, took time.Duration) {
	a.published.Store(true)
	a.metrics.built.Observe(took.Seconds())
	if !s.Changed.IsZero() && s.Origin == discovery.OriginLive {
		a.metrics.lag.Observe(time.Since(s.Changed).Seconds())
	}
}

// Drain makes Ready false from now on.
func (a *Admin) Drain() { a.draining.Store(true) }

// Ready reports whether requests should come here: a table is there, every
// source has given all it knows (or knew), and we are not stopping.
func (a *Admin) Ready() bool {
	if a.draining.Load() || !a.published.Load() {
		return false
	}
	for _, source := range a.options.Sources {
		for _, s := range source.Status() {
			if !s.Ready() {
				return false
			}
		}
	}
	return true
}

// Handler serves everything.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	pages := []struct{ path, what string }{}
	page := func(path, what string, h http.HandlerFunc) {
		mux.HandleFunc("GET "+path, h)
		pages = append(pages, struct{ path, what string }{path, what})
	}
	page("/health", "200 while the process lives", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	page("/ready", "200 while requests should come here; how each source of services is", a.ready)
	page("/metrics", "for Prometheus", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.options.Logger.Handler(), slog.LevelWarn)}).ServeHTTP)
	page("/routes", "all routes in the order that they are tried; ?host= ?namespace= ?service= select", a.routes)
	page("/instances", "all instances and their state; ?namespace= ?service= select", a.instances)
	page("/rejections", "what was asked for and refused, why, and what to write instead; ?namespace= ?service= select", a.rejections)
	page("/explain", "which route wins, and why each nearer candidate lost: ?host=&path=&method=&query=&header=Name:Value", a.explain)
	page("/debug/pprof/", "profiles", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "serai %s\n\n", a.options.Version)
		for _, p := range pages {
			fmt.Fprintf(w, "%-14s %s\n", p.path, p.what)
		}
	})
	return guard(mux)
}

// guard refuses requests for a name: a web page that has its own name resolve
// to our address (DNS rebinding) would read everything through a browser.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if !ownHost(r.Host) {
			http.Error(w, "serai's admin is asked by address, or as localhost: not by another name", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost reports whether a Host field is an address, localhost or empty.
func ownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	e.Encode(v)
}

// Readiness is what /ready answers.
type Readiness struct {
	Ready    bool `json:"ready"`
	Draining bool `json:"draining,omitempty"`
	// Why says what readiness waits for, or what is not as it should be
	// although requests are served.
	Why     []string           `json:"why,omitempty"`
	Sources []discovery.Status `json:"sources"`
}

func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	r := Readiness{Ready: a.Ready(), Draining: a.draining.Load(), Sources: []discovery.Status{}}
	if r.Draining {
		r.Why = append(r.Why, "stopping")
	}
	for _, source := range a.options.Sources {
		for _, s := range source.Status() {
			r.Sources = append(r.Sources, s)
			if why := inWords(&s); why != "" {
				r.Why = append(r.Why, why)
			}
		}
	}
	if len(r.Why) == 0 && !r.Ready {
		r.Why = append(r.Why, "no table has been made yet")
	}
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, r)
}

// inWords says what is not as it should be with a source.
func inWords(s *discovery.Status) string {
	why := ""
	switch s.Phase {
	case discovery.Live:
		if s.Problem == "" {
			return ""
		}
		why = "live"
	case discovery.Starting:
		why = "not read yet"
	case discovery.Cached:
		why = "served from the cache of " + s.Since.UTC().Format(time.RFC3339)
	case discovery.Stale:
		why = "stale since " + s.Since.UTC().Format(time.RFC3339) + "; what was known is served"
	case discovery.Polling:
		why = "polled, because its event stream is refused"
	}
	if s.Problem != "" {
		why += ": " + s.Problem
	}
	return s.Source + ": " + why
}
