package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"serai/policy"
	"serai/wire"
)

// BasicOptions is a basic block. Zero values mean the defaults named.
type BasicOptions struct {
	// Realm is what browsers show, the policy's name by default.
	Realm string
	// UserField is the field in which the instance is told the name,
	// "X-Forwarded-User" by default.
	UserField string
	// Keep lets the instance have the Authorization field, too.
	Keep bool
}

// Basic asks for a name and a password (RFC 7617).
type Basic struct {
	name      string
	challenge wire.Field
	userField []byte
	owned     policy.Names
	passwords *Passwords
	users     atomic.Pointer[Users] // nil while nobody knows who they are
}

var _ policy.Owner = (*Basic)(nil)

// NewBasic makes the policy of that name. Users may be nil: see SetUsers.
func NewBasic(name string, o BasicOptions, users *Users, all *Passwords) (*Basic, error) {
	if o.Realm == "" {
		o.Realm = name
	}
	if o.UserField == "" {
		o.UserField = "X-Forwarded-User"
	}
	if !printableValue(o.Realm) {
		return nil, errors.New("the realm contains control characters, or begins or ends with a blank")
	}
	if err := Settable(o.UserField); err != nil || strings.EqualFold(o.UserField, "authorization") {
		return nil, fmt.Errorf("user_field: %q is no field that could have the name; want X-Forwarded-User, or the like", o.UserField)
	}
	b := &Basic{
		name: name, userField: []byte(o.UserField), passwords: all, owned: policy.Names{o.UserField},
		challenge: wire.Field{Name: []byte("WWW-Authenticate"), Value: []byte(`Basic realm="` + quoted(o.Realm) + `", charset="UTF-8"`)},
	}
	if !o.Keep {
		b.owned = append(b.owned, "Authorization")
	}
	b.SetUsers(users)
	return b, nil
}

// quoted is what stands between the quotes of a quoted-string (RFC 9110 section 5.6.4).
func quoted(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

// SetUsers lets these users in from now on; nil lets in nobody, because it is not known who
// they are.
func (b *Basic) SetUsers(u *Users) { b.users.Store(u) }

// Weak counts the users whose hash is weak.
func (b *Basic) Weak() int {
	if users := b.users.Load(); users != nil {
		return users.Weak
	}
	return 0
}

// Request implements policy.RequestPolicy.
func (b *Basic) Request(r policy.Request, reply *policy.Reply) (answered bool) {
	users := b.users.Load()
	if users == nil {
		reply.Status, reply.Reason, reply.Detail = 503, "auth-unavailable", "the users of this route are not known yet"
		return true
	}
	sent := authorization(r.Received().Fields)
	if sent == nil {
		return b.refuse(reply)
	}
	m := b.passwords.macs.Get().(*mac)
	defer b.passwords.macs.Put(m)
	name, password, ok := b.passwords.credentials(m, sent)
	if !ok {
		return b.refuse(reply)
	}
	u := users.byName[string(name)]
	d := m.of(u, name, password)
	if !b.passwords.known(d, time.Now()) {
		q := &question{digest: d, user: u, nobody: u == nil, password: string(password), client: r.ClientAddr()}
		if u == nil {
			q.user = m.standIn(users, name)
		}
		ok, err := b.passwords.waitFor(r, q)
		if err != nil {
			return busy(reply, err)
		}
		if !ok {
			return b.refuse(reply)
		}
	}
	learned := r.Learned()
	learned.Forget(b.owned)
	learned.Forward = append(learned.Forward, wire.Field{Name: b.userField, Value: u.name})
	return false
}

// refuse asks for a name and a password. It does not tell which of them was wrong.
func (b *Basic) refuse(reply *policy.Reply) (answered bool) {
	refuse(reply, policy.ErrAuthRequired)
	reply.Fields = append(reply.Fields, b.challenge)
	return true
}

// busy answers that the policy could not decide now: 429 where only this client has too
// much under way.
func busy(reply *policy.Reply, err error) (answered bool) {
	if err == errGone {
		reply.Status = 0
		return true
	}
	refuse(reply, policy.ErrAuthBusy)
	reply.Detail = err.Error()
	switch err {
	case errClientBusy, errClientAsks:
		reply.Fields = append(reply.Fields, wire.Field{Name: []byte("Retry-After"), Value: []byte("1")}) // others with 503 have it
	default:
		reply.Status = 503
	}
	return true
}

// authorization returns the value of the Authorization field; nil when there is none, or
// are several: an instance could take another one than serai.
func authorization(fields []wire.Field) (value []byte) {
	for i := range fields {
		f := &fields[i]
		if !wire.Resembles(f.Name, "Authorization") {
			continue
		}
		if value != nil {
			return nil
		}
		value = f.Value
	}
	return value
}

// credentials reads a name and a password, which stay as long as m.
func (p *Passwords) credentials(m *mac, value []byte) (name, password []byte, ok bool) {
	scheme, encoded, _ := bytes.Cut(value, []byte{' '})
	encoded = bytes.Trim(encoded, " ")
	if !wire.EqualFold(scheme, "basic") {
		return nil, nil, false
	}
	if len(encoded) > base64.StdEncoding.EncodedLen(p.limits.Credentials) {
		p.counts.long.Add(1)
		return nil, nil, false
	}
	n, err := base64.StdEncoding.Strict().Decode(m.decoded, encoded)
	if err != nil {
		return nil, nil, false
	}
	return bytes.Cut(m.decoded[:n], []byte{':'})
}

// Owns implements policy.Owner.
func (b *Basic) Owns() policy.Names { return b.owned }

// Explain implements policy.Policy.
func (b *Basic) Explain() string {
	users := b.users.Load()
	if users == nil {
		return fmt.Sprintf("auth: %s asks for a name and a password; nobody knows its users yet, so nobody gets in", b.name)
	}
	if users.Len() == 1 {
		return fmt.Sprintf("auth: %s asks for a name and a password; one user", b.name)
	}
	return fmt.Sprintf("auth: %s asks for a name and a password; %d users", b.name, users.Len())
}
