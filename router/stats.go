// Package router answers: which route takes this request?
package router

// Stats counts what happened on one named route. It outlives tables: the
// Builder hands the same Stats to the routes of the same namespace, service
// and route name, and forgets it with them.
type Stats struct{}

// NewStats returns empty counters.
func NewStats() *Stats { return &Stats{} }
