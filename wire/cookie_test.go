package wire_test

import (
	"slices"
	"testing"

	"serai/wire"
)

func TestCookies(t *testing.T) {
	fields := []wire.Field{
		{Name: []byte("Cookie"), Value: []byte("a=1; b = 2 ;;none;=x; a=\"3\"; c=4=5"), Kind: wire.Cookie},
		{Name: []byte("X-Cookie"), Value: []byte("no=1"), Kind: wire.Other},
		{Name: []byte("Cookie"), Value: []byte("d="), Kind: wire.Cookie},
		{Name: []byte("Cookie"), Value: []byte(""), Kind: wire.Cookie},
	}
	var got []string
	for name, value := range wire.Cookies(fields) {
		got = append(got, string(name)+":"+string(value))
	}
	if want := []string{"a:1", "b : 2", ":x", `a:"3"`, "c:4=5", "d:"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	for range wire.Cookies(fields) {
		break // the rest is not asked for
	}
}
