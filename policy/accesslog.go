package policy

// accessLog keeps requests out of the access log: see List.Unlogged.
type accessLog struct{}

func compileAccessLog(o *OfRoute) Policy {
	if !o.NoAccessLog {
		return nil
	}
	return accessLog{}
}

// Explain implements Policy.
func (accessLog) Explain() string {
	return "access-log: requests of this route have no line in the access log; they are counted as all others"
}
