package policy

import (
	"slices"

	"serai/wire"
)

// Owner is a policy that sets fields of an instance's request in which the instance
// believes, such as the name of a user. What the client sends in them, in its head or in
// its trailers, is removed: some servers merge trailers into the head.
//
// What the policy sets, it learns in the request phase: it takes part in no other.
type Owner interface {
	RequestPolicy
	Owns() Names
}

// Answerer is a policy that answers some paths of each host that it guards a part of,
// whatever route would take them: where a login comes back to, for example. On these paths
// it is the only policy that a request meets, and always answers.
type Answerer interface {
	RequestPolicy
	// Answers returns the paths.
	Answers() []string
}

// Answering returns the policy of the list that answers a path by itself, nil for none.
func (l *List) Answering(path []byte) RequestPolicy {
	if l == nil {
		return nil
	}
	for _, a := range l.answering {
		if a.path == string(path) {
			return a.RequestPolicy
		}
	}
	return nil
}

// AnsweredPaths returns the paths that policies of the list answer by themselves.
func (l *List) AnsweredPaths() (paths []string) {
	if l == nil {
		return nil
	}
	for _, a := range l.answering {
		paths = append(paths, a.path)
	}
	return paths
}

// answeredPath is one of them.
type answeredPath struct {
	path string
	RequestPolicy
}

// Names are names of fields. A client's field is one of them in every spelling that some
// origin reads as the name: CGI and WSGI make the same variable of X-Forwarded-User and
// X_Forwarded_User.
type Names []string

// Has reports whether a client's field is one of them.
func (n Names) Has(name []byte) bool {
	for _, own := range n {
		if wire.Resembles(name, own) {
			return true
		}
	}
	return false
}

// Learned is what policies have learned about one request, for the phases that follow.
// It is used again for the next request.
type Learned struct {
	rates []rateNote // by the place of each in the list
	cors  corsNote

	// What Owners have learned:
	// Forward are fields for the instance, Answer fields for the client, whoever answers.
	Forward, Answer []wire.Field
	// Values has memory for their values, which stay as long as the request.
	Values wire.Values
}

// Forget removes what was learned for the instance in fields of these names: of several
// policies the last one counts.
func (l *Learned) Forget(names Names) {
	kept := l.Forward[:0]
	for _, f := range l.Forward {
		if !names.Has(f.Name) {
			kept = append(kept, f)
		}
	}
	l.Forward = kept
}

// Reset forgets everything.
func (l *Learned) Reset() {
	l.rates, l.cors = l.rates[:0], corsNote{}
	l.Forward, l.Answer = l.Forward[:0], l.Answer[:0]
	l.Values.Reset()
}

// Owns reports whether a client's field is one that only a policy of the list may set.
func (l *List) Owns(name []byte) bool {
	if l == nil {
		return false
	}
	for _, n := range l.owned {
		if n.Has(name) {
			return true
		}
	}
	return false
}

// forwardLearned puts what Owners have learned in the place of what the client has sent.
func (l *List) forwardLearned(f *Forward) {
	if len(l.owned) == 0 {
		return
	}
	for i := range f.Head.Fields {
		if field := &f.Head.Fields[i]; l.Owns(field.Name) {
			field.Kind = wire.Dropped
		}
	}
	f.Head.Fields = append(f.Head.Fields, f.Request.Learned().Forward...)
}

// answerLearned adds what Owners have learned for the client. An answer that brings a
// session is for one client, whatever the instance says of caches.
func (l *List) answerLearned(a *Answer) {
	if len(l.owned) == 0 {
		return
	}
	learned := a.Request.Learned().Answer
	if slices.ContainsFunc(learned, func(f wire.Field) bool { return wire.EqualFold(f.Name, "set-cookie") }) {
		a.keepPrivate()
	}
	a.Head.Fields = append(a.Head.Fields, learned...)
}

// keepPrivate has no cache store the answer that could give it to somebody else. Fields for
// single caches, which RFC 9213 has end in -Cache-Control, would overrule Cache-Control.
func (a *Answer) keepPrivate() {
	private := false
	for i := range a.Head.Fields {
		switch f := &a.Head.Fields[i]; {
		case f.Kind == wire.Dropped:
		case hasSuffixFold(f.Name, "-cache-control"), wire.EqualFold(f.Name, "surrogate-control"), wire.EqualFold(f.Name, "x-accel-expires"):
			f.Kind = wire.Dropped
		case wire.EqualFold(f.Name, "cache-control"):
			private = private || wire.HasToken(f.Value, "no-store") || wire.HasToken(f.Value, "private")
		}
	}
	if !private {
		a.Set(field("Cache-Control", "private, no-store"))
	}
}

func hasSuffixFold(b []byte, suffix string) bool {
	return len(b) >= len(suffix) && wire.EqualFold(b[len(b)-len(suffix):], suffix)
}
