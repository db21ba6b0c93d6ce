package policy

import (
	"strings"

	"serai/wire"
)

// FieldSetting is a field that a message gets, in place of all others of its name.
type FieldSetting struct {
	Name  string
	Value *Template
}

// String returns the setting as its tag writes it.
func (s FieldSetting) String() string { return s.Name + ": " + s.Value.String() }

// fieldRemoval removes fields of a message.
type fieldRemoval struct {
	of    Message
	names []string
}

// A removal takes part only for the message that it is of, and in the trailers of that:
// so does a setting, below.
type (
	removedInRequests struct{ fieldRemoval }
	removedInAnswers  struct{ fieldRemoval }
)

var (
	_ ForwardPolicy = (*removedInRequests)(nil)
	_ AnswerPolicy  = (*removedInAnswers)(nil)
	_ TrailerPolicy = (*fieldRemoval)(nil)
)

func compileFieldRemoval(of Message, names []string) Policy {
	switch p := (fieldRemoval{of, names}); {
	case len(names) == 0:
		return nil
	case of == RequestMessage:
		return &removedInRequests{p}
	default:
		return &removedInAnswers{p}
	}
}

// Forward implements ForwardPolicy.
func (p *removedInRequests) Forward(f *Forward) { p.drop(f.Head.Fields) }

// Answer implements AnswerPolicy.
func (p *removedInAnswers) Answer(a *Answer) { p.drop(a.Head.Fields) }

// Trailers implements TrailerPolicy.
func (p *fieldRemoval) Trailers(m Message, fields []wire.Field) {
	if m == p.of {
		p.drop(fields)
	}
}

func (p *fieldRemoval) drop(fields []wire.Field) {
	for i := range fields {
		for _, name := range p.names {
			if p.of.named(fields[i].Name, name) {
				fields[i].Kind = wire.Dropped
			}
		}
	}
}

// Explain implements Policy.
func (p *fieldRemoval) Explain() string {
	list := strings.Join(p.names, ", ")
	if p.of == RequestMessage {
		return p.of.removalKey() + ": instances do not get what clients send as " + list
	}
	return p.of.removalKey() + ": clients do not get what instances, or serai, answer as " + list
}

// named reports whether a field has that name. Of requests, whoever reads every byte
// that is neither a letter nor a digit as a dash, as CGI does, must not find one either.
func (m Message) named(field []byte, name string) bool {
	if len(field) != len(name) {
		return false
	}
	for i, b := range field {
		if c := name[i]; b != c && (m == AnswerMessage && lower(b) != lower(c) || m == RequestMessage && dashed(b) != dashed(c)) {
			return false
		}
	}
	return true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}

func dashed(b byte) byte {
	if b = lower(b); 'a' <= b && b <= 'z' || '0' <= b && b <= '9' {
		return b
	}
	return '-'
}

// fieldSettings sets fields of a message.
type fieldSettings struct {
	of  Message
	all []fieldSetting
}

// fieldSetting is a compiled FieldSetting.
type fieldSetting struct {
	FieldSetting
	// field is what is sent; without its value if that is made for each request.
	field wire.Field
	made  bool
}

type (
	setInRequests struct{ fieldSettings }
	setInAnswers  struct{ fieldSettings }
)

var (
	_ ForwardPolicy = (*setInRequests)(nil)
	_ AnswerPolicy  = (*setInAnswers)(nil)
	_ TrailerPolicy = (*fieldSettings)(nil)
)

func compileFieldSettings(of Message, settings []FieldSetting) Policy {
	p := fieldSettings{of: of}
	for _, s := range settings {
		value, literal := s.Value.literal()
		f := field(s.Name, value)
		f.Kind = wire.KindOf(f.Name)
		p.all = append(p.all, fieldSetting{FieldSetting: s, field: f, made: !literal})
	}
	switch {
	case len(p.all) == 0:
		return nil
	case of == RequestMessage:
		return &setInRequests{p}
	default:
		return &setInAnswers{p}
	}
}

// Forward implements ForwardPolicy.
func (p *setInRequests) Forward(f *Forward) {
	p.drop(f.Head.Fields)
	f.Head.Fields = p.add(f.Head.Fields, f.Request, f.Values, f.Limits)
}

// Answer implements AnswerPolicy.
func (p *setInAnswers) Answer(a *Answer) {
	p.drop(a.Head.Fields)
	a.Head.Fields = p.add(a.Head.Fields, a.Request, a.Values, a.Limits)
}

// Trailers implements TrailerPolicy: the head alone has the field.
func (p *fieldSettings) Trailers(m Message, fields []wire.Field) {
	if m == p.of {
		p.drop(fields)
	}
}

func (p *fieldSettings) drop(fields []wire.Field) {
	for i := range fields {
		for j := range p.all {
			if p.of.named(fields[i].Name, p.all[j].Name) {
				fields[i].Kind = wire.Dropped
			}
		}
	}
}

// add appends the fields. One whose value is empty, or too long, is left out.
func (p *fieldSettings) add(fields []wire.Field, r Request, values *wire.Values, limits *Limits) []wire.Field {
	left := limits.mostMade()
	for i := range p.all {
		s := &p.all[i]
		f := s.field
		if s.made {
			value, ok := s.Value.appendValue(values.Start(), r, left)
			if !ok {
				limits.omit()
			}
			if !ok || len(value) == 0 {
				continue
			}
			left -= len(value)
			f.Value = values.Keep(value)
		}
		fields = append(fields, f)
	}
	return fields
}

var _ discreet = (*setInRequests)(nil)

// explainDiscreetly implements discreet.
func (p *setInRequests) explainDiscreetly() string {
	var names []string
	for _, s := range p.all {
		names = append(names, s.Name)
	}
	return "request-set: instances get " + strings.Join(names, ", ") + " with values that are not shown, in place of what clients send by these names"
}

// Explain implements Policy.
func (p *fieldSettings) Explain() string {
	var all []string
	for _, s := range p.all {
		all = append(all, s.FieldSetting.String())
	}
	list := strings.Join(all, "; ")
	if p.of == RequestMessage {
		return "request-set: instances get " + list + ", in place of what clients send by these names"
	}
	return "response-set: clients get " + list + ", in place of what instances answer by these names"
}
