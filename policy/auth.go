package policy

// compileAuth is the check of the auth that a layer names.
func compileAuth(l *Layer) Policy {
	if l.Auth == nil {
		return nil
	}
	return l.Auth.Check
}
