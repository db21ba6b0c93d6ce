package auth

import (
	"fmt"
	"strings"

	"serai/wire"
)

// Settable reports why a policy may not set a field of the instance's request: those that
// frame it, route it or say where it comes from are serai's.
func Settable(name string) error {
	switch kind := wire.KindOf([]byte(name)); {
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		return fmt.Errorf("%q is not the name of a field; want letters, digits and dashes", name)
	case kind == wire.Other, kind == wire.ProxyOnly, strings.EqualFold(name, "authorization"):
		return nil
	default:
		return fmt.Errorf("%q is not a field that a policy may set", name)
	}
}
