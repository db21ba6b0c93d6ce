package proxy

import (
	"fmt"
	"slices"
	"strings"

	"serai/wire"
)

// trustedFields are the fields of trusted peers that are sent on as they are. Nil
// trusts no field.
type trustedFields struct {
	kinds [1 << 8]bool // by wire.Kind
	names []string     // of fields of kind ProxyOnly
}

// trustable are the fields, each with a kind of its own, that an operator may trust.
var trustable = map[string]wire.Kind{
	"forwarded": wire.Forwarded, "x-forwarded-host": wire.XForwardedHost, "x-forwarded-port": wire.XForwardedPort,
	"x-forwarded-prefix": wire.XForwardedPrefix, "x-real-ip": wire.XRealIP,
}

// newTrustedFields reads the names of fields, in any case.
func newTrustedFields(names []string) (b trustedFields, err error) {
	b.kinds[wire.XForwardedFor], b.kinds[wire.XForwardedProto] = true, true
	proxyOnly := wire.ProxyOnlyNames()
	for _, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		kind, known := trustable[name]
		switch {
		case known:
			b.kinds[kind] = true
		case slices.Contains(proxyOnly, name):
			b.names = append(b.names, name)
		case name == "x-forwarded-for" || name == "x-forwarded-proto":
			// always
		default:
			return b, fmt.Errorf("trusted field %q is not one of forwarded, x-forwarded-host, x-forwarded-port, x-forwarded-prefix, x-real-ip, %s", name, strings.Join(proxyOnly, ", "))
		}
	}
	return b, nil
}

// has reports whether a peer's field is trusted.
func (b *trustedFields) has(f *wire.Field) bool {
	if b == nil {
		return false
	}
	if f.Kind != wire.ProxyOnly {
		return b.kinds[f.Kind]
	}
	return slices.ContainsFunc(b.names, func(name string) bool { return wire.EqualFold(f.Name, name) })
}
