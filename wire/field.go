package wire

import "slices"

// Field is one line of a head or of a trailer section. Both slices point into the
// buffer it was parsed from.
type Field struct {
	Name, Value []byte
	Kind        Kind
}

// Kind is what a field means to a proxy. It is found once, while parsing.
type Kind uint8

// The kinds. A field that a proxy neither reads nor removes is Other.
const (
	Other Kind = iota
	// Dropped marks a field that is not sent on.
	Dropped
	// Lookalike is a name that some servers read as one of the kinds below:
	// X_Forwarded_For, Content.Length.
	Lookalike

	// Message framing and connection, RFC 9112.
	Host
	Connection
	ContentLength
	TransferEncoding
	TE
	Trailer
	Upgrade
	KeepAlive
	ProxyConnection
	HTTP2Settings // of an upgrade to h2c, which is not passed on (RFC 7540 section 3.2.1)
	Expect
	// Proxy is an undefined field. CGI makes HTTP_PROXY of it, which libraries take for
	// the address of a proxy ("httpoxy").
	Proxy

	// Fields that a proxy sets.
	Forwarded
	XForwardedFor
	XForwardedHost
	XForwardedPort
	XForwardedPrefix
	XForwardedProto
	XRealIP
	XRequestID
	XSeraiHops
	// ProxyOnly is a field that frameworks expect from a proxy, and that a stranger must
	// not send: see proxyOnlyNames.
	ProxyOnly

	// Fields that a proxy reads.
	Cookie
	Date

	// HeadOnly is a field that must not be in a trailer section: see headOnlyNames.
	HeadOnly

	// XSeraiReason says why serai has answered itself. It is never sent on from an
	// instance, in any spelling that a reader may take for it.
	XSeraiReason
)

// proxyOnlyNames are the fields of kind ProxyOnly: frameworks, gateways and content
// networks use them to describe the client, what it requested, or its certificate (RFC
// 9440 section 2.4).
var proxyOnlyNames = []string{
	"cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "cf-visitor", "client-cert", "client-cert-chain", "client-ip",
	"fastly-client-ip", "fly-client-ip", "forwarded-for", "front-end-https", "incap-client-ip", "proxy-client-ip",
	"ssl-client-cert", "ssl-client-issuer-dn", "ssl-client-subject-dn", "ssl-client-verify", "true-client-ip",
	"wl-proxy-client-ip", "x-appengine-user-ip", "x-arr-clientcert", "x-arr-ssl", "x-azure-clientip", "x-azure-socketip",
	"x-client-cert", "x-client-ip", "x-cluster-client-ip", "x-envoy-external-address", "x-envoy-internal",
	"x-envoy-original-host", "x-envoy-original-path", "x-forward-for", "x-forwarded", "x-forwarded-by", "x-forwarded-client-cert",
	"x-forwarded-client-ip", "x-forwarded-ip", "x-forwarded-method", "x-forwarded-path", "x-forwarded-protocol",
	"x-forwarded-scheme", "x-forwarded-server", "x-forwarded-ssl", "x-forwarded-tls-client-cert",
	"x-forwarded-tls-client-cert-info", "x-forwarded-uri", "x-host", "x-http-host-override", "x-nf-client-connection-ip",
	"x-original-for", "x-original-forwarded-for", "x-original-host", "x-original-method", "x-original-path", "x-original-prefix",
	"x-original-proto", "x-original-uri", "x-original-url", "x-originating-ip", "x-proxied-https", "x-proxyuser-ip",
	"x-real-port", "x-remote-addr", "x-remote-ip", "x-replaced-path", "x-rewrite-url", "x-scheme", "x-ssl-cert",
	"x-ssl-client-cert", "x-ssl-client-cn", "x-ssl-client-dn", "x-ssl-client-serial", "x-ssl-client-sha1", "x-ssl-client-subject",
	"x-ssl-client-verify", "x-ssl-issuer", "x-sucuri-clientip", "x-url-scheme", "x-vercel-forwarded-for",
}

// ProxyOnlyNames returns the names of the fields of kind ProxyOnly, in lower case.
func ProxyOnlyNames() []string { return slices.Clone(proxyOnlyNames) }

// headOnlyNames are fields that are read before the body: they say what to do with the
// request, who sends it, or what the body is (RFC 9110 section 6.5.1, and the list of
// RFC 7230 section 4.1.2). Some servers merge trailers into the head, where nobody has
// checked these.
var headOnlyNames = []string{
	"age", "authorization", "cache-control", "content-encoding", "content-range", "content-type", "expires", "if-match",
	"if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "location", "max-forwards", "pragma",
	"proxy-authenticate", "proxy-authorization", "range", "retry-after", "set-cookie", "vary", "warning", "www-authenticate",
}

// commonNames are fields of kind Other that most requests or answers have: what is in the
// table need not be checked byte by byte.
var commonNames = []string{
	"accept", "accept-encoding", "accept-language", "dnt", "origin", "priority", "referer", "sec-ch-ua", "sec-ch-ua-mobile",
	"sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user", "upgrade-insecure-requests",
	"user-agent", "x-requested-with",
	"accept-ranges", "access-control-allow-origin", "alt-svc", "content-disposition", "content-language", "etag", "last-modified",
	"link", "server", "strict-transport-security", "x-content-type-options", "x-frame-options", "x-powered-by",
}

// longestName is the length of the longest name in the table.
const longestName = 32

// namedKind is a name in lower case and its kind. Next is the index of the next name
// with the same length and last letter; 0 for none. First and last are its ends.
type namedKind struct {
	first, last uint64
	name        string
	kind        Kind
	next        uint8
}

// ends returns the first and the last eight bytes of a name, which may overlap, and are all
// of it up to 16. In both there are all bytes of a shorter one than eight.
func ends(name []byte) (first, last uint64) {
	n := len(name)
	switch {
	case n >= 8:
		return word(name), word(name[n-8:])
	case n >= 4:
		first = halfWord(name) | halfWord(name[n-4:])<<32
	default:
		for i := range n {
			first = first<<8 | uint64(name[i])
		}
	}
	return first, first
}

// kindTable finds a kind by its name.
type kindTable struct {
	names []namedKind // names[0] is unused
	// first is the index of the first name with a length and a last letter, of which the
	// lowest bits are used: few names have both in common.
	first [longestName + 1][32]uint8
}

var kinds = func() (t kindTable) {
	t.names = make([]namedKind, 1)
	add := func(name string, kind Kind) {
		head, tail := ends([]byte(name))
		first := &t.first[len(name)][name[len(name)-1]%32]
		t.names = append(t.names, namedKind{head, tail, name, kind, *first})
		*first = uint8(len(t.names) - 1)
	}
	for _, name := range proxyOnlyNames {
		add(name, ProxyOnly)
	}
	for _, name := range headOnlyNames {
		add(name, HeadOnly)
	}
	for _, name := range commonNames {
		add(name, Other)
	}
	// The last ones are found first.
	for name, kind := range map[string]Kind{
		"host": Host, "connection": Connection, "content-length": ContentLength,
		"transfer-encoding": TransferEncoding, "te": TE, "trailer": Trailer,
		"upgrade": Upgrade, "keep-alive": KeepAlive, "proxy-connection": ProxyConnection,
		"http2-settings": HTTP2Settings, "proxy": Proxy,
		"expect": Expect, "forwarded": Forwarded, "x-forwarded-for": XForwardedFor,
		"x-forwarded-host": XForwardedHost, "x-forwarded-port": XForwardedPort,
		"x-forwarded-prefix": XForwardedPrefix, "x-forwarded-proto": XForwardedProto,
		"x-real-ip": XRealIP, "x-request-id": XRequestID, "x-serai-hops": XSeraiHops, "cookie": Cookie, "date": Date,
		"x-serai-reason": XSeraiReason,
	} {
		add(name, kind)
	}
	return t
}()

// KindOf returns the kind of a field name.
func KindOf(name []byte) Kind {
	kind, _ := find(name)
	return kind
}

// find returns the kind of a field name, and reports whether the table has it.
func find(name []byte) (kind Kind, known bool) {
	if len(name) == 0 || len(name) > longestName {
		return Other, false
	}
	first, last := ends(name)
	for i := kinds.first[len(name)][name[len(name)-1]%32]; i != 0; {
		n := &kinds.names[i]
		if equalWord(first, n.first) && equalWord(last, n.last) && (len(name) <= 16 || EqualFold(name, n.name)) {
			return n.kind, true
		}
		i = n.next
	}
	return Other, false
}

// InTrailers reports whether a field of kind k may be in a trailer section.
func (k Kind) InTrailers() bool { return k == Other || k == Date }

// OnlyTrailers reports whether a list, the value of a Trailer field, names only fields
// that may be in a trailer section. Some servers refuse a message that names another
// one.
func OnlyTrailers(list []byte) bool {
	for len(list) > 0 {
		var name []byte
		if name, list = nextElement(list); !KindOf(name).InTrailers() || !resembledKind(name).InTrailers() {
			return false
		}
	}
	return true
}

// resembledKind returns the kind of a name for readers that take every byte that is
// neither a letter nor a digit for a dash: Lookalike if that is a kind that a proxy
// sets or frames by, XSeraiReason if it is that, else Other. CGI and WSGI servers read
// X_Forwarded_For and X-Forwarded-For as one name.
func resembledKind(name []byte) Kind {
	if len(name) > longestName {
		return Other
	}
	var plain [longestName]byte
	for i, b := range name {
		if class[b]&classPunct != 0 {
			b = '-'
		}
		plain[i] = b
	}
	switch k := KindOf(plain[:len(name)]); {
	case k >= Host && k < Cookie:
		return Lookalike
	case k == XSeraiReason:
		return XSeraiReason
	}
	return Other
}

// Resembles reports whether name equals own for readers that take every byte that is
// neither a letter nor a digit for a dash, and ignore case.
func Resembles(name []byte, own string) bool {
	if len(name) != len(own) {
		return false
	}
	for i, b := range name {
		if plainByte(b) != plainByte(own[i]) {
			return false
		}
	}
	return true
}

// plainByte is a byte of a name in lower case, and a dash for a byte that is neither a
// letter nor a digit.
func plainByte(b byte) byte {
	switch {
	case class[b]&classPunct != 0:
		return '-'
	case 'A' <= b && b <= 'Z':
		return b + 'a' - 'A'
	}
	return b
}

// Get returns the value of the first field with that name, which must be lower-case;
// nil for none.
func Get(fields []Field, lower string) []byte {
	for i := range fields {
		if EqualFold(fields[i].Name, lower) {
			if fields[i].Value == nil {
				return []byte{}
			}
			return fields[i].Value
		}
	}
	return nil
}
