// Package history answers: what has serai decided, and why?
//
// A decision is told once (Tell): the line of the log and the Event that a Ring keeps are
// made of the same words, so they cannot differ. Where the log leaves a line out because of
// its level, the Ring keeps the Event all the same.
package history

import (
	"context"
	"log/slog"
	"runtime"
	"time"
)

// Kind is what was decided. The words are a promise: changed only by adding.
type Kind string

// What serai decides.
const (
	Started  Kind = "started"
	Draining Kind = "drain-begun"
	Drained  Kind = "drain-ended"

	InstanceReady      Kind = "instance-ready"
	InstanceLost       Kind = "instance-lost" // it cannot be reached, or fails its check
	InstanceEjected    Kind = "instance-ejected"
	InstanceReadmitted Kind = "instance-readmitted"
	InstanceGone       Kind = "instance-gone"

	RouteClaimed   Kind = "route-claimed"
	RouteWithdrawn Kind = "route-withdrawn"
	RouteWaits     Kind = "route-waits" // its last instance has gone
	RouteResumed   Kind = "route-resumed"
	RouteContested Kind = "route-contested"
	Rejected       Kind = "rejected"
	RejectionEnded Kind = "rejection-ended"

	CertificateOrdered  Kind = "certificate-ordered"
	CertificateObtained Kind = "certificate-obtained"
	CertificateRenewed  Kind = "certificate-renewed"
	CertificateFailed   Kind = "certificate-failed"
	CertificatesRead    Kind = "certificates-read" // from files
	CertificatesRefused Kind = "certificates-refused"

	SourceLost    Kind = "source-lost"
	SourceBack    Kind = "source-back"
	ConfigApplied Kind = "config-applied"
	ConfigRefused Kind = "config-refused"
	LeaderGained  Kind = "leader-gained"
	LeaderLost    Kind = "leader-lost"
)

// meanings say in words what each kind is, in the order of the life of a serai.
var meanings = [...]struct {
	kind  Kind
	means string
}{
	{Started, "serai starts"},
	{Draining, "serai drains: the ready path fails, requests are still served"},
	{Drained, "the drain has ended; one before it for requests that were cut off"},
	{InstanceReady, "an instance takes requests for the first time"},
	{InstanceLost, "an instance cannot be reached, or fails its check: it gets no new request"},
	{InstanceEjected, "an instance has failed requests: it gets none for a while"},
	{InstanceReadmitted, "an instance that was lost or ejected takes requests again"},
	{InstanceGone, "no service registers the instance any more"},
	{RouteClaimed, "a route was added; at the start one event for all"},
	{RouteWithdrawn, "a route has ended"},
	{RouteWaits, "the last instance of a route has gone: its requests wait for the next one"},
	{RouteResumed, "a route that waited has an instance again"},
	{RouteContested, "a claim is refused because another service holds it"},
	{Rejected, "a tag, a claim or an instance is refused; at the start one event for all"},
	{RejectionEnded, "a tag, a claim or an instance is no longer refused"},
	{CertificateOrdered, "a certificate is ordered at the CA"},
	{CertificateObtained, "the first certificate of a host was obtained"},
	{CertificateRenewed, "a certificate was renewed"},
	{CertificateFailed, "an order has failed, or a renewal was refused"},
	{CertificatesRead, "certificates were read from files"},
	{CertificatesRefused, "certificates in files cannot be read: the last good ones stay"},
	{SourceLost, "services or certificates cannot be read from a source: the last known ones stay in use"},
	{SourceBack, "services or certificates are read from a source, at the start or again"},
	{ConfigApplied, "a change of the config file is in force"},
	{ConfigRefused, "the config file has an error: its last good version stays in force"},
	{LeaderGained, "this serai orders certificates now"},
	{LeaderLost, "this serai no longer orders certificates"},
}

// Kinds returns all kinds.
func Kinds() []Kind {
	all := make([]Kind, len(meanings))
	for i, m := range meanings {
		all[i] = m.kind
	}
	return all
}

// Means says in words what the kind is, empty for none of ours.
func (k Kind) Means() string {
	for _, m := range meanings {
		if m.kind == k {
			return m.means
		}
	}
	return ""
}

// Event is one decision, or the same one several times in a row. Never modified once a Ring
// has it.
type Event struct {
	// ID is higher than those of all earlier events, also those of earlier processes: it
	// is about the time in microseconds since 1970.
	ID int64 `json:"id"`
	// FirstID is the ID that the event had when it was first decided. An event that is
	// repeated within a minute is counted: it gets a new ID, and keeps this one.
	FirstID int64     `json:"first_id"`
	Time    time.Time `json:"time"`
	First   time.Time `json:"first"`
	Times   int       `json:"times"`
	Kind    Kind      `json:"event"`
	// Level is that of the line in the log: DEBUG, INFO, WARN or ERROR.
	Level string `json:"level"`
	Subject
	// Message says what was decided, Why for which reason; empty when there is no more to
	// say.
	Message string `json:"message"`
	Why     string `json:"why,omitempty"`
	// Details are the other fields of the line.
	Details map[string]string `json:"details,omitempty"`
}

// Subject is what a decision is about; fields that do not apply are empty.
type Subject struct {
	Namespace string `json:"namespace,omitempty"`
	Service   string `json:"service,omitempty"`
	Route     string `json:"route,omitempty"`
	Host      string `json:"host,omitempty"`
	// Address and Alloc are of an instance.
	Address string `json:"address,omitempty"`
	Alloc   string `json:"alloc,omitempty"`
	// Source is a source of services.
	Source string `json:"source,omitempty"`
}

// Tell logs a decision, and gives it to the Ring of the logger's Handler, if it has one. The
// arguments are those of slog.Logger.Log: namespace, service, route, host, address, alloc
// and source are the Subject; why, cause, reason, problem and error are the reason.
func Tell(logger *slog.Logger, level slog.Level, kind Kind, message string, args ...any) {
	ctx := context.Background()
	h := logger.Handler()
	logged := h.Enabled(ctx, level)
	ours, ok := h.(*Handler)
	if !logged && !ok {
		return
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	r := slog.NewRecord(time.Now(), level, message, pc[0])
	r.Add(args...)
	if ok {
		ours.ring.add(eventOf(kind, &r, ours.attrs))
	}
	if logged {
		r.AddAttrs(slog.String("event", string(kind)))
		_ = h.Handle(ctx, r) // as slog.Logger does
	}
}

// Handler is a slog.Handler that has a Ring. What is logged without Tell passes through.
type Handler struct {
	slog.Handler
	ring  *Ring
	attrs []slog.Attr
}

// Logger returns a logger that logs as another one does, and whose decisions ring keeps.
func Logger(logger *slog.Logger, ring *Ring) *slog.Logger {
	return slog.New(&Handler{Handler: logger.Handler(), ring: ring})
}

// RingOf returns the ring of a logger, nil when it has none.
func RingOf(logger *slog.Logger) *Ring {
	if h, ok := logger.Handler().(*Handler); ok {
		return h.ring
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.Handler.WithAttrs(attrs), h.ring, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.Handler.WithGroup(name), h.ring, h.attrs}
}
