package policy

import "serai/wire"

// hsts makes browsers use https for the host from now on (RFC 6797). It replaces an
// instance's own field: only one such field is allowed (section 6.1), and none over
// plain HTTP (section 7.2).
type hsts struct{ field wire.Field }

var _ AnswerPolicy = (*hsts)(nil)

func compileHSTS(o *OfRoute) Policy {
	if o.HSTS == "" {
		return nil
	}
	return &hsts{field("Strict-Transport-Security", o.HSTS)}
}

// Answer implements AnswerPolicy.
func (p *hsts) Answer(a *Answer) {
	if a.Request.OverHTTPS() {
		a.Set(p.field)
	}
}

// Explain implements Policy.
func (p *hsts) Explain() string {
	return "hsts: answers over https carry Strict-Transport-Security: " + string(p.field.Value)
}
