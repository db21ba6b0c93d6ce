package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
)

// page is one path that is served.
type page struct {
	path, what string
	serve      http.HandlerFunc
}

// pages returns what the index lists.
func (a *Admin) pages() []page {
	return []page{
		{"/health", "200 while the process lives", health},
		{"/ready", "200 while requests should come here, 503 otherwise; how each source of services is", a.serveReady},
		{"/metrics", "for Prometheus", a.metrics.handler(a.options.Logger).ServeHTTP},
		{"/routes", "all routes in the order that they are tried; ?host= ?namespace= ?service= select", a.serveRoutes},
		{"/instances", "all instances and their state; ?namespace= ?service= select", a.serveInstances},
		{"/rejections", "what was refused, why, and what to write instead; ?namespace= ?service= select", a.serveRejections},
		{"/certificates", "certificates: names, issuer, expiry, next renewal, what failed, and which serai orders them", a.serveCertificates},
		{"/explain", "which route wins, and why others lose: ?host=&path=&method=&query=&header=NAME:VALUE", a.serveExplain},
		{"/debug/pprof/", "profiles", boundProfile(pprof.Index)},
	}
}

// Handler serves everything. It is asked by address or as localhost, with GET
// or HEAD.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	var index strings.Builder
	fmt.Fprintf(&index, "serai %s\n\n", a.options.Version)
	for _, p := range a.pages() {
		mux.HandleFunc(p.path, p.serve)
		fmt.Fprintf(&index, "%-14s %s\n", p.path, p.what)
	}
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", boundProfile(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", boundProfile(pprof.Trace))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, index.String()) })
	return guard(mux)
}

// longestProfile bounds how long a profile or trace may be taken: each costs every
// request something, and of the CPU's there can be one at a time.
const longestProfile = 60

// boundProfile refuses those that would take longer: net/http/pprof does not.
func boundProfile(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// What is no number is read as the default by pprof.
		seconds, err := strconv.ParseFloat(r.FormValue("seconds"), 64)
		if (err == nil || errors.Is(err, strconv.ErrRange)) && !(seconds <= longestProfile) {
			http.Error(w, fmt.Sprintf("a profile takes at most seconds=%d", longestProfile), http.StatusBadRequest)
			return
		}
		next(w, r)
	}
}

func health(w http.ResponseWriter, _ *http.Request) { text(w, "ok\n") }

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, s)
}

// guard refuses what might change something, what came through an ingress, and
// requests for a name: a web page whose own name resolves to our address (DNS rebinding) would read
// everything through the browser of an operator.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if !ownHost(r.Host) {
			http.Error(w, "serai's admin does not answer to this name: ask by IP address, or as localhost", http.StatusForbidden)
			return
		}
		// What serai has carried here was asked for by a stranger, of a service whose
		// instance is this address.
		if r.Header.Get("X-Serai-Hops") != "" {
			http.Error(w, "serai's admin is not served through an ingress", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "serai's admin only tells: use GET or HEAD", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost reports whether a Host field is an address, localhost or empty: what
// no stranger can make resolve to us.
func ownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
