package router

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"serai/policy"
	"serai/upstream"
)

// balanceKeys are the keys that decide which instance gets a request.
func balanceKeys() []key {
	return []key{{
		Key: Key{Name: "lb", Value: "METHOD", Default: "least", Example: "hash:header:x-user",
			Meaning: methodMeanings()},
		parse: parseBalance,
		also:  []string{"balance", "balancer", "algorithm", "load-balancer", "strategy"},
		route: func(o *RouteOptions) string { return o.Balance.String() },
	}, {
		Key: Key{Name: "weight", Value: "0 to 1000", Default: "100",
			Meaning: "share of the requests that this instance gets, with every `lb`, for one client as for many; 0 takes no new request"},
		parse: parseWeight,
	}, {
		notNamed: "it is how requests are divided between the instances, which only the team knows",
		Key: Key{Name: "sticky", Value: "COOKIE", Default: "off", Example: "instance",
			Meaning: "cookie that binds a client to an instance; its value is opaque (HMAC) and never the address; when the instance is gone, `lb` chooses another"},
		parse: parseSticky,
		also:  []string{"sticky-cookie", "affinity", "session"},
		route: func(o *RouteOptions) string { return o.Sticky },
	}, {
		notNamed: "it belongs to sticky, which no policy gives",
		Key: Key{Name: "sticky-same-site", Value: "lax, strict, none", Default: "lax", Example: "strict", With: "sticky=instance",
			Meaning: "SameSite attribute of the sticky cookie; `none`, for apps in frames of other sites, is only sent over https, where the cookie is Secure; over plain HTTP it is `lax`"},
		parse: parseSameSite,
		also:  []string{"samesite", "same-site"},
		route: func(o *RouteOptions) string {
			if o.SameSite == policy.SameSiteLax {
				return ""
			}
			return sameSites().word(o.SameSite)
		},
	}, {
		Key: Key{Name: "prefer", Value: "node, datacenter", Default: "off", Example: "node",
			Meaning: "`lb` chooses among the instances near this serai, while one of them is ready and below `max-inflight`, and they have on average at most twice as many requests in flight as all instances, plus 8"},
		parse: parsePrefer,
		route: func(o *RouteOptions) string { return nearness().word(o.Prefer) },
	}, {
		Key: Key{Name: "canary", Value: "N%, header:NAME: VALUE, cookie:NAME=VALUE", Default: "-",
			Meaning: "on instances registered with `canary_tags`, the requests that they get: a percentage (`10%`, drawn once for each request; all when no other instance is up; with `0%` none, even then), or those with a header (`header:X-Canary: 1`) or cookie (`cookie:canary=1`); without this key they get none"},
		parse: parseCanary,
	}}
}

func nearness() wordList[upstream.Prefer] {
	return wordList[upstream.Prefer]{{"node", upstream.PreferNode}, {"datacenter", upstream.PreferDatacenter}}
}

func parsePrefer(d *draft, value string) (f *flaw) {
	d.Options.Prefer, f = nearness().parse(value)
	return f
}

// methodMeanings is the documentation of all methods.
func methodMeanings() string {
	var all []string
	for _, m := range upstream.Methods() {
		all = append(all, "`"+m.Form()+"`: "+m.Meaning)
	}
	return strings.Join(all, "; ")
}

func parseBalance(d *draft, value string) *flaw {
	var words, forms []string
	for i, m := range upstream.Methods() {
		b := upstream.Balance{Method: upstream.Method(i)}
		if !m.Named {
			if value == m.Word {
				d.Options.Balance = b
				return nil
			}
			words = append(words, m.Word)
			continue
		}
		forms = append(forms, m.Form())
		name, named := strings.CutPrefix(value, m.Word+":")
		switch {
		case named && isToken(name):
			if b.Name = name; m.FoldName {
				b.Name = strings.ToLower(name)
			}
			d.Options.Balance = b
			return nil
		case named || value == m.Word:
			return &flaw{fmt.Sprintf("%s does not name what is hashed", quote(value)), m.Form()}
		}
	}
	slices.Sort(words)
	return &flaw{fmt.Sprintf("%s is not allowed here", quote(value)), "one of: " + strings.Join(append(words, forms...), ", ")}
}

func parseWeight(d *draft, value string) (f *flaw) {
	d.Instance.Weight, f = number(value, 0, 1000)
	return f
}

func parseSticky(d *draft, value string) *flaw {
	if !isToken(value) || len(value) > maxRouteLen {
		return &flaw{fmt.Sprintf("%s is not a cookie name", quote(value)), ""}
	}
	d.Options.Sticky = value
	return nil
}

func sameSites() wordList[policy.SameSite] {
	return wordList[policy.SameSite]{{"lax", policy.SameSiteLax}, {"strict", policy.SameSiteStrict}, {"none", policy.SameSiteNone}}
}

func parseSameSite(d *draft, value string) (f *flaw) {
	d.Options.SameSite, f = sameSites().parse(value)
	return f
}

func parseCanary(d *draft, value string) *flaw {
	c := &upstream.Canary{}
	kind, rule, _ := strings.Cut(value, ":")
	switch {
	case strings.HasSuffix(value, "%"):
		percent, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return &flaw{fmt.Sprintf("%s is not a percentage", quote(value)), "0% to 100%"}
		}
		c.Percent = percent
	case kind == "header":
		name, want, _ := strings.Cut(rule, ":")
		// Check for a token before lower-casing: U+212A (Kelvin sign) would become a k.
		name = trim(name)
		c.Header, c.Value = strings.ToLower(name), trim(want)
		if !isToken(name) || c.Value == "" {
			return &flaw{fmt.Sprintf("%s is not a header and its value", quote(rule)), "canary=header:NAME: VALUE"}
		}
	case kind == "cookie":
		name, want, _ := strings.Cut(rule, "=")
		c.Cookie, c.Value = trim(name), trim(want)
		if !isToken(c.Cookie) || c.Value == "" || strings.ContainsAny(c.Value, "\",;\\ ") {
			return &flaw{fmt.Sprintf("%s is not a cookie and its value", quote(rule)), "canary=cookie:NAME=VALUE"}
		}
	default:
		return &flaw{fmt.Sprintf("%s does not say which requests the canary takes", quote(value)), "canary=10%, canary=header:NAME: VALUE or canary=cookie:NAME=VALUE"}
	}
	d.Instance.Canary = c
	return nil
}
