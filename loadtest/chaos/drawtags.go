package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// tagDrawer draws a service's tags.
type tagDrawer struct {
	dice
	service *Service
	keys    []Key
	drawn   int
	config  bool // there is a config file, of which tags may name an auth and policies
}

func (t *tagDrawer) add(key, value string) {
	t.put(&Tag{Key: key, Value: value})
}

func (t *tagDrawer) put(tag *Tag) {
	t.drawn++
	tag.Name = fmt.Sprintf("%s.t%d", t.service.Name, t.drawn)
	t.service.Tags = append(t.service.Tags, tag)
}

// always are keys that each service gets, or that are drawn by hand.
var always = []string{"host", "wait", "timeout", "body-idle"}

// values are good values of keys, each with the percentage of services that get the
// key. A key that is not here is drawn with its example, in one of ten services.
func values() map[string]struct {
	percent int
	values  []string
} {
	type v = struct {
		percent int
		values  []string
	}
	return map[string]v{
		"path":             {25, []string{"/api", "/a/b", "/api,/other", "/%7Euser"}},
		"path-exact":       {8, []string{"/exact", "/exact,/same"}},
		"method":           {5, []string{"GET,HEAD,POST,PUT,DELETE"}},
		"header":           {8, []string{"X-Env: beta", "X-Env: a b"}},
		"query":            {6, []string{"v=2"}},
		"priority":         {10, []string{"5", "-3", "1000000"}},
		"class":            {2, []string{"other"}},
		"strip":            {20, []string{"/api", "/a"}},
		"rewrite":          {10, []string{"^/api/(.*)$ /$1", "^/a/(?P<rest>.*) /${rest}", "/x /y", "[a-z]+$ /$$"}},
		"prepend":          {10, []string{"/app", "/%7Euser"}},
		"request-set":      {10, []string{"X-Told: {path}", "X-Told: {{1}"}},
		"request-remove":   {10, []string{"X-Key", "x-canary"}},
		"response-set":     {10, []string{"X-Told: {path}", "X-Told: {{1}"}},
		"response-remove":  {10, []string{hstsField}},
		"redirect":         {6, []string{"https", "https://else.example{path}?{query}"}},
		"redirect-status":  {50, []string{"301", "302", "303", "307", "308"}},
		"scheme":           {12, []string{"https"}},
		"tls-verify":       {0, nil}, // with scheme
		"tls-name":         {0, nil},
		"upstream-host":    {15, []string{"preserve", "address", "inner.example", "inner.example:8080"}},
		"lb":               {60, []string{"least", "round-robin", "random", "hash:ip", "hash:header:X-Key", "hash:cookie:key"}},
		"weight":           {15, []string{"1", "50", "100", "1000"}},
		"sticky":           {20, []string{"stuck"}},
		"sticky-same-site": {50, []string{"lax", "strict", "none"}},
		"prefer":           {8, []string{"node", "datacenter"}},
		"canary":           {0, nil}, // of an instance
		"check":            {20, []string{"/healthy", "/healthy?deep=1"}},
		"check-interval":   {10, []string{"200ms", "1s"}},
		"check-timeout":    {10, []string{"500ms", "2s"}},
		"check-status":     {10, []string{"200", "200-299"}},
		"retries":          {40, []string{"0", "1", "2", "3", "10"}},
		"max-body":         {12, []string{"10", "1000", "65536", "100000"}},
		"tls":              {8, []string{"auto", "off", "only"}},
		"hsts":             {15, []string{"max-age=60", "max-age=31536000; includeSubDomains"}},
		"proxy-protocol":   {8, []string{"v1", "v2"}},
		"enable":           {6, []string{"true"}}, // which false takes out, as no host does
		"connect":          {4, []string{"off"}},  // without Consul nothing else leads anywhere
		"max-inflight":     {8, []string{"40", "100"}},
		"retry-post":       {10, []string{"on"}},
		"grpc-web":         {5, []string{"off"}}, // on needs an instance that speaks HTTP/2
		"policies":         {0, nil},             // where there is a config file
		"auth":             {0, nil},
		"allow":            {8, []string{"127.0.0.0/8", "127.0.0.1,2001:db8::/32", "127.0.0.0/8,203.0.113.0/24", "192.0.2.0/24,203.0.113.7"}},
		"deny":             {8, []string{"10.0.0.0/8", "192.0.2.0/24", "203.0.113.0/25"}},
		"rate":             {10, []string{"1000000/s", "1000000/h", "20/h", "5/h"}},
		"rate-burst":       {30, []string{"1000000"}},
		"rate-by":          {50, []string{"client", "host", "header:X-Key"}},
		"cors":             {10, []string{"*", "https://else.example,https://*.else.example"}},
		"cors-methods":     {30, []string{"GET,PUT"}},
		"cors-headers":     {30, []string{"X-Key"}},
		"cors-expose":      {30, []string{"X-Key"}},
		"cors-credentials": {20, []string{"false"}},
		"cors-max-age":     {30, []string{"10m"}},
		"errors":           {10, []string{"418"}}, // which nobody answers: pages are requests that no client sends
		"errors-service":   {50, []string{"pages"}},
		"errors-path":      {50, []string{"/{status}.html"}},
	}
}

// some draws one key with a chance of its own.
func (t *tagDrawer) some(key string, percent int) {
	v := values()[key]
	if t.chance(percent) && len(v.values) > 0 && slices.ContainsFunc(t.keys, func(k Key) bool { return k.Name == key }) {
		t.add(key, one(t.dice, v.values...))
	}
}

// all draws every key of the grammar, in its order, and what belongs together.
func (t *tagDrawer) all() {
	for _, key := range t.keys {
		if slices.Contains(always, key.Name) {
			continue
		}
		if v, known := values()[key.Name]; known {
			t.some(key.Name, v.percent)
		} else if t.chance(10) && key.Example != "" {
			t.add(key.Name, key.Example)
		}
	}
	if t.has("scheme") != "" {
		t.add("tls-verify", "false")
		if t.chance(40) {
			t.add("tls-name", "inner.example")
		}
	}
	if t.config {
		if t.chance(15) {
			t.add("auth", authName)
		}
		if t.chance(15) {
			t.add("policies", one(t.dice, "inside", "inside", "outside", "inside,outside"))
		}
	}
	t.dropUnfit()
	if s := t.service; len(s.Own) > 1 && t.chance(20) {
		last := len(s.Own) - 1
		s.Own[last] = []string{"ingress." + one(t.dice, "weight=0", "weight=1", "weight=1000", "canary=10%", "canary=header:X-Canary: 1", "canary=cookie:canary=1")}
		if strings.Contains(s.Own[last][0], "weight") {
			t.drop("weight")
		}
	}
}

// dropUnfit drops tags that mean nothing without another one, or that contradict one.
func (t *tagDrawer) dropUnfit() {
	// What is near, and which instance a hash or a turn names, may exclude each
	// other.
	if lb := t.has("lb"); lb != "" && lb != "least" {
		t.drop("prefer")
	}
	if t.has("sticky") != "" {
		t.drop("prefer")
	}
	if rate := t.has("rate"); rate == "" || strings.Contains(rate, "/h") && len(rate) < 6 { // few: their burst is judged
		t.drop("rate-burst")
		t.drop("rate-by")
	}
	if t.has("cors") == "" || t.has("method") != "" { // a method condition would have to have OPTIONS
		for _, key := range []string{"cors", "cors-methods", "cors-headers", "cors-expose", "cors-credentials", "cors-max-age"} {
			t.drop(key)
		}
	}
	if t.has("sticky") == "" {
		t.drop("sticky-same-site")
	}
	if t.has("errors") == "" {
		t.drop("errors-service")
		t.drop("errors-path")
	}
	if t.has("redirect") == "" {
		t.drop("redirect-status")
	}
	if strip := t.has("strip"); strip != "" && !strings.HasPrefix(t.has("path"), strip) {
		t.drop("strip")
	}
	if t.has("check") == "" {
		t.drop("check-interval")
		t.drop("check-timeout")
		t.drop("check-status")
	}
}

// has returns the value of the first tag with a key, empty when there is none.
func (t *tagDrawer) has(key string) string {
	for _, tag := range t.service.Tags {
		if tag.Key == key {
			return tag.Value
		}
	}
	return ""
}

// drop drops the tags with a key.
func (t *tagDrawer) drop(key string) {
	t.service.Tags = slices.DeleteFunc(t.service.Tags, func(tag *Tag) bool { return tag.Key == key })
}
