package admin

import "net/http"

// MetricsHandler serves /metrics and /health alone, for a listener that others than the
// operator reach: neither routes nor registrations, profiles or explanations. It answers
// to any name, since whoever scrapes may know serai by one.
func (a *Admin) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", a.metrics.handler(a.options.Logger))
	mux.HandleFunc("/health", health)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this listener has /metrics and /health; the rest is at --admin", http.StatusNotFound)
	})
	return readOnly(mux)
}
