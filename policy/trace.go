package policy

// noTrace keeps requests out of traces: see List.Untraced.
type noTrace struct{}

func compileTrace(o *OfRoute) Policy {
	if !o.NoTrace {
		return nil
	}
	return noTrace{}
}

// Explain implements Policy.
func (noTrace) Explain() string {
	return "trace: requests of this route are not traced; a valid traceparent of the client is passed on"
}
