package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"serai/admin/ui"
)

// page is one path of the admin listener.
type page struct {
	path, what string
	serve      http.HandlerFunc
}

// pages are the paths that the index lists.
func (a *Admin) pages() []page {
	all := []page{
		{"/health", "200 while the process runs", health},
		{"/ready", "200 while requests should come here, 503 otherwise; the state of each source of services", a.serveReady},
		{"/metrics", "for Prometheus", a.serveMetrics},
		{"/routes", "all routes in the order in which they are tried; ?host= ?namespace= ?service= select", a.serveRoutes},
		{"/instances", "all instances and their state; ?namespace= ?service= select", a.serveInstances},
		{"/rejections", "what was refused, why, and what to write instead; ?namespace= ?service= select", a.serveRejections},
		{"/certificates", "certificates: names, issuer, expiry, next renewal, failures, and which serai orders them", a.serveCertificates},
		{"/explain", "which route wins, and why others lose: ?host=&path=&method=&query=&header=NAME:VALUE", a.serveExplain},
		{"/ui/overview", "the dashboard, which a browser gets at / too", nil},
		{"/debug/pprof/", "profiles, for clients on this machine", a.profiled(boundProfile(pprof.Index))},
	}
	if a.options.LogLevel != nil {
		all = append(all, page{logLevelPath, "the level of the log; PUT sets it: serai log-level", a.serveLogLevel})
	}
	return all
}

// Handler serves everything, to whom Options.Access lets in. Requests must use an IP address,
// localhost or a name of the certificate, and GET or HEAD.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	var index strings.Builder
	fmt.Fprintf(&index, "serai %s\n\n", a.options.Version)
	for _, p := range slices.Concat(a.pages(), a.api()) {
		if p.serve != nil {
			mux.HandleFunc(p.path, p.serve)
		}
		fmt.Fprintf(&index, "%-20s %s\n", p.path, p.what)
	}
	mux.HandleFunc("/debug/pprof/cmdline", a.profiled(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", a.profiled(boundProfile(pprof.Profile)))
	mux.HandleFunc("/debug/pprof/symbol", a.profiled(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", a.profiled(boundProfile(pprof.Trace)))
	(&dashboard{a, a.ui}).register(mux)
	// A browser gets the dashboard, anything else the index.
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.Redirect(w, r, "/ui/overview", http.StatusFound)
			return
		}
		text(w, index.String())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "there is no such page; these are:\n\n"+index.String(), http.StatusNotFound)
	})
	rest, level := a.guard(a.admitted(a.gate.through(mux))), a.admitted(http.HandlerFunc(a.putLogLevel))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == logLevelPath {
			noSniff(w)
			level.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// longestProfile bounds how long a profile or trace may be taken: each slows down every
// request, and only one CPU profile can be taken at a time.
const longestProfile = 60

// boundProfile refuses profiles that would take longer, which net/http/pprof does not.
func boundProfile(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// pprof replaces a value that is not a number by its default.
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

// guard is readOnly, and refuses requests for a name: a web page whose own name resolves to
// our address (DNS rebinding) would read everything through an operator's browser.
func (a *Admin) guard(next http.Handler) http.Handler {
	next = readOnly(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", ui.Security)
		w.Header().Set("Referrer-Policy", "no-referrer")
		if !a.ownHost(r) {
			noSniff(w)
			http.Error(w, "serai's admin does not answer to this name: ask by IP address, or as localhost; over TLS by a name of its certificate, too", http.StatusForbidden)
			return
		}
		if !ownPage(r) {
			noSniff(w)
			http.Error(w, "serai's admin is not read by pages of other sites", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownPage reports whether a request is not one of a page of another site, or of another port of
// this one, at which a tenant's may be: browsers tell (https://www.w3.org/TR/fetch-metadata/). A
// link from there may lead here.
func ownPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	return r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// readOnly refuses methods that might change something, and requests that came through an
// ingress.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noSniff(w)
		// A request that serai has forwarded comes from a stranger, through a service
		// whose instance is this address.
		if r.Header.Get("X-Serai-Hops") != "" {
			http.Error(w, "serai's admin is not served through an ingress", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "serai's admin changes nothing: use GET or HEAD", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func noSniff(w http.ResponseWriter) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
}

// ownHost reports whether a request is for us: for an address, or over TLS for a name that our
// certificate has, which no stranger can show for a name of theirs.
func (a *Admin) ownHost(r *http.Request) bool {
	if ownHost(r.Host) {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return r.TLS != nil && a.options.Access.OwnName != nil && a.options.Access.OwnName(host)
}

// ownHost reports whether a Host field is an address, localhost or empty: no stranger
// can make these resolve to this listener.
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
