package policy

// Placeholder stands for something that is known of a request.
type Placeholder uint8

// The placeholders. A redirect's target has the first three, the value of a field all
// but Query.
const (
	NoPlaceholder Placeholder = iota // a literal
	Host                             // as routes are looked up by it
	Path                             // as the client sent it
	Query
	Client     // the client's address, behind trusted proxies
	RequestID  // what X-Request-Id says
	TLSVersion // of the connection to serai, such as TLSv1.3
	SNI        // the server name that the client asked for when it connected
	TraceID    // of the request's trace, empty for none
	numPlaceholders
)

func (p Placeholder) String() string {
	return [...]string{"", "{host}", "{path}", "{query}", "{client}", "{request-id}", "{tls-version}", "{sni}", "{trace-id}"}[p]
}
