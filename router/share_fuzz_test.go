package router

import (
	"slices"
	"strings"
	"testing"

	"serai/upstream"
)

// FuzzSharedHosts: who may claim a host is decided by the longest pattern that covers
// it, in whatever letters it is written; and a share that means nothing is refused.
func FuzzSharedHosts(f *testing.F) {
	f.Add("www.example.org", "team-a,team-b", "*.example.org", "team-c", "www.example.org", "team-a")
	f.Add("WWW.Example.org.", "team-a", "www.example.org", "team-b", "www.example.org", "team-b")
	f.Add("*", "team-a", "*.a.test", "team-b", "x.y.a.test", "team-b")
	f.Add("*.test", "*", "a.test", "", "a.test", "team-a")
	f.Add("10.0.0.1", "a", "[::1]", "a", "10.0.0.1", "a")
	f.Add("a.test", "a,a", "b\u212a.test", "a", "*.test", "b")
	f.Fuzz(func(t *testing.T, first, with, second, and, host, namespace string) {
		share := map[string][]string{first: strings.Split(with, ",")}
		share[second] = append(share[second], strings.Split(and, ",")...)
		o := Options{Registry: &upstream.Registry{}, Share: share}
		if err := o.Validate(); err != nil {
			if strings.ContainsAny(err.Error(), "\x00\r") {
				t.Errorf("the error has what was written in it unquoted: %q", err)
			}
			return
		}
		asked, flaw := parseHostPattern(host)
		if flaw != nil || asked == "*" {
			return
		}
		// The longest pattern that covers the host, without the code's own maps.
		best, sharers := -1, []string(nil)
		for pattern, namespaces := range share {
			p := strings.ToLower(strings.TrimSuffix(pattern, "."))
			if canonical, _ := parseHostPattern(pattern); strings.HasPrefix(canonical, "[") {
				p = canonical
			}
			n := -1
			switch suffix, wild := strings.CutPrefix(p, "*"); {
			case p == asked:
				n = 1 << 20
			case wild && strings.HasSuffix(asked, suffix) && !isAddressHost(asked):
				n = len(suffix)
			case p == "*":
				n = 0
			}
			if n > best {
				best, sharers = n, namespaces
			}
		}
		shares, err := newOwners(o.shares())
		if err != nil {
			t.Fatalf("what Validate takes is refused: %v", err)
		}
		f, holder := shares.exclude(namespace, asked)
		if want := sharers != nil && !slices.Contains(sharers, namespace); (f != nil) != want {
			t.Errorf("%q: %q may not claim %s: %+v", share, namespace, asked, f)
		}
		if f != nil && (f.why == "" || f.instead == "" || holder == "") {
			t.Errorf("refused without a word: %+v", f)
		}
	})
}

func isAddressHost(host string) bool { return endsInNumber(host) || strings.HasPrefix(host, "[") }
