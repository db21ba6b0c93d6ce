package chaos

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	// loopback is where all clients come from, and announcedAs who the PROXY protocol
	// says that some are.
	loopback    = "127.0.0.1"
	announcedAs = "203.0.113.7"
	// authName is the auth of the config file, and chaosUser who may pass.
	authName, chaosUser = "chaos", "ann"
)

// Logins that pass, and that do not.
var (
	goodLogin = loginOf("open-sesame")
	badLogin  = loginOf("sesame")
)

func loginOf(password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(chaosUser+":"+password))
}

// goodConfig is a config file for all programs that have one. USERS stands for a path.
const goodConfig = `auth "chaos" {
  basic {
    users_file = "USERS"
  }
}
policy "inside" {
  allow = ["127.0.0.0/8", "203.0.113.0/24"]
}
policy "outside" {
  allow = ["192.0.2.0/24"]
}
`

// namedAllow are what those policies allow.
var namedAllow = map[string]string{"inside": "127.0.0.0/8,203.0.113.0/24", "outside": "192.0.2.0/24"}

func (c *cluster) configFile() string { return filepath.Join(c.dir, "serai.hcl") }

// writeConfig writes the config file, and the file of users that it names.
func (c *cluster) writeConfig(text string) error {
	users := filepath.Join(c.dir, "users")
	if _, err := os.Stat(users); err != nil {
		hash, err := bcrypt.GenerateFromPassword([]byte("open-sesame"), bcrypt.MinCost)
		if err != nil {
			return err
		}
		if err := os.WriteFile(users, []byte(chaosUser+":"+string(hash)+"\n"), 0o600); err != nil {
			return err
		}
	}
	next := c.configFile() + ".new"
	return errors.Join(os.WriteFile(next, []byte(strings.ReplaceAll(text, "USERS", users)), 0o600), os.Rename(next, c.configFile()))
}

// guards are what a service's tags say about who may pass.
type guards struct {
	allow [][]netip.Prefix // each has to have the client
	deny  []netip.Prefix
	auth  bool
	rate  int // requests in an hour, where these are few; 0 for any number
	cors  []string
}

// readGuard reads a tag, if it is one of theirs.
func (g *guards) readGuard(t *Tag) {
	switch t.Key {
	case "allow":
		g.allow = append(g.allow, prefixes(t.Value))
	case "deny":
		g.deny = prefixes(t.Value)
	case "policies":
		for name := range strings.SplitSeq(t.Value, ",") {
			g.allow = append(g.allow, prefixes(namedAllow[name]))
		}
	case "auth":
		g.auth = true
	case "rate":
		if number, hourly := strings.CutSuffix(t.Value, "/h"); hourly && len(number) < 4 {
			g.rate, _ = strconv.Atoi(number)
		}
	case "cors":
		g.cors = strings.Split(t.Value, ",")
	}
}

func prefixes(list string) (all []netip.Prefix) {
	for s := range strings.SplitSeq(list, ",") {
		if a, err := netip.ParseAddr(s); err == nil {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(s); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// letsIn reports whether a client with that address may pass. A client of unknown
// address may not, if addresses are checked.
func (g *guards) letsIn(client string) bool {
	a, err := netip.ParseAddr(client)
	if err != nil {
		return len(g.allow) == 0 && len(g.deny) == 0
	}
	has := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(g.deny, has) {
		return false
	}
	for _, list := range g.allow {
		if !slices.ContainsFunc(list, has) {
			return false
		}
	}
	return true
}

// isGuard reports whether a reason is a guard's.
func isGuard(reason string) bool {
	return reason == "ip-denied" || reason == "auth-required" || reason == "rate-limited"
}

// guarded are the reasons for which a guard may answer a request, besides the expected
// one.
func (g *guards) guarded(miss string) (list []string) {
	if miss != "" {
		list = append(list, miss)
	}
	if g.rate > 0 && (miss == "" || miss == "redirect" || miss == "auth-required") {
		list = append(list, "rate-limited")
	}
	if g.auth && miss != "ip-denied" {
		list = append(list, "auth-busy")
	}
	return list
}

// address is the address that serai must take for the client of a request; empty if
// that is no address.
func (c *Client) address(q *Request) string {
	switch {
	case c == nil:
		return loopback
	case c.Announced != "":
		return announcedAs
	case !c.Believed:
		return loopback
	}
	for _, f := range q.Fields {
		if said, ok := strings.CutPrefix(f, "X-Forwarded-For: "); ok {
			list := strings.Split(said, ", ")
			slices.Reverse(list)
			for _, client := range list {
				if _, err := netip.ParseAddr(client); err != nil {
					return ""
				}
				if client != loopback {
					return client
				}
			}
		}
	}
	return loopback
}

// announcement is a header of the PROXY protocol.
func announcement(version string) []byte {
	if version == "v1" {
		return []byte("PROXY TCP4 " + announcedAs + " 127.0.0.1 50000 80\r\n")
	}
	b, _ := hex.DecodeString("0d0a0d0a000d0a515549540a2111000ccb0071077f000001c3500050") // of the same
	return b
}

// drawWho draws what a request says about its sender.
func (p *Program) drawWho(d dice, rule *rules, r *Request) {
	if p.Trusts && d.chance(35) {
		r.Fields = slices.DeleteFunc(r.Fields, func(f string) bool { return strings.HasPrefix(f, "X-Forwarded-For") })
		r.Fields = append(r.Fields, "X-Forwarded-For: "+one(d, "192.0.2.9", "192.0.2.9", loopback, "10.1.2.3", "6.6.6.6, 192.0.2.9", "192.0.2.9, "+loopback, "unknown", "192.0.2.9, unknown"))
	}
	if rule.auth && !d.chance(8) {
		r.Fields = append(r.Fields, one(d, goodLogin, goodLogin, goodLogin, goodLogin, badLogin))
		if d.chance(20) {
			r.Fields = append(r.Fields, "X-Forwarded-User: root", "x_forwarded_user: root")
		}
	}
	if len(rule.cors) > 0 && d.chance(60) {
		r.Fields = append(r.Fields, "Origin: "+one(d, "https://else.example", "https://a.else.example", "https://evil.example", "null"))
	}
}
