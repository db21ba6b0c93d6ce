package chaos

import "time"

// Program is one episode, decided by its seed: what runs, who asks, and what
// goes wrong. Its parts have names, so that a repetition can leave some out.
type Program struct {
	Seed uint64
	// Flags are serai's, beside addresses. Files bounds its descriptors, 0 for
	// as many as there are.
	Flags []string
	Files int
	// Config is whether serai has a config file, with an auth and two policies; Trusts
	// whether it trusts what clients say in X-Forwarded-For, and Announces whether they
	// may be announced by the PROXY protocol.
	Config, Trusts, Announces bool
	Services                  []*Service
	Clients                   []*Client
	Faults                    []*Fault
}

// Flavour says what is expected of a service.
type Flavour string

// The flavours.
const (
	Tame     Flavour = "tame"     // its instances do nothing wrong and stay
	Queue    Flavour = "queue"    // one instance, max-inflight, and clients that are judged by their order
	Wrong    Flavour = "wrong"    // its instances reset, cut, stall and talk nonsense
	Deployed Flavour = "deployed" // its instances are replaced, and end in order
	Hurt     Flavour = "hurt"     // its instances are killed, stopped and cut off
	Refused  Flavour = "refused"  // a tag of it is wrong
	Self     Flavour = "self"     // registered at serai's own address
	Shared   Flavour = "shared"   // judged by how its requests are shared out
	Flood    Flavour = "flood"    // its requests fill what all that wait may hold
)

// Service is a service and how its instances are.
type Service struct {
	Name    string // s1
	Flavour Flavour
	Tags    []*Tag
	// Own are the tags that each instance has for itself; there are as many
	// instances as elements.
	Own [][]string
	// Static services are in the services file, others in Nomad.
	Static bool
	// Relayed instances are behind a relay that can be cut.
	Relayed bool
	// IdleClose is after how long an instance closes an unused connection, 0
	// for never.
	IdleClose time.Duration
}

// Tag is one tag of a service.
type Tag struct {
	Name       string // s1.t1
	Key, Value string
	// Bad tags are to be refused.
	Bad bool
}

func (t *Tag) String() string { return "ingress." + t.Key + "=" + t.Value }

// Client is one connection and the requests it carries.
type Client struct {
	Name  string // c1
	Start time.Duration
	TLS   bool
	// Announced is the version of the PROXY protocol in which it is announced, empty for
	// not. Believed is whether serai trusts it.
	Announced string
	Believed  bool
	// Pipelined clients write all requests without waiting for answers.
	Pipelined bool
	// Piece and Pause are how much is written at once, and what passes
	// between two writes. A Piece of 0 writes all at once.
	Piece int
	Pause time.Duration
	// Trickles has the pieces begin behind each head, and Pause be so long that
	// the body may be slower than it has to be.
	Trickles bool
	// Keeps sends back the cookies that it was given.
	Keeps bool
	// ReadPiece and ReadPause are the same for reading.
	ReadPiece int
	ReadPause time.Duration
	// Abort is after how many bytes written the client resets the connection,
	// or closes it; -1 for never.
	Abort int
	Reset bool
	// HalfClose closes the way to serai after the last request.
	HalfClose bool
	// Extra is sent so long after the last request, which asked for the end of
	// the connection; empty for nothing.
	Extra      string
	ExtraAfter time.Duration
	Requests   []*Request
}

// leaves reports whether the client may be gone before its answers.
func (c *Client) leaves() bool { return c.Abort >= 0 || c.HalfClose }

// Framing is how a body's end is told.
type Framing string

// The framings. Close is for answers only.
const (
	None    Framing = "none"
	Length  Framing = "length"
	Chunked Framing = "chunked"
	Close   Framing = "until the end"
)

// Request is one request, and what instances are to answer.
type Request struct {
	Name    string // c1.r1
	ID      uint64
	Service *Service
	Host    string
	Method  string
	Minor   int // of the version HTTP/1.x
	Path    string
	Query   string
	Fields  []string // NAME: VALUE, beside those that follow from the rest
	Framing Framing
	Size    int
	Chunk   int // bytes of a chunk
	Trailer bool
	Expect  bool // 100-continue
	// Close asks for the end of the connection.
	Close bool
	// Keyed requests carry an Idempotency-Key.
	Keyed bool
	// Upgrade asks for an echo of Size bytes; of these so many are sent with
	// the head.
	Upgrade bool
	EarlyUp int
	// Empty upgrades say Content-Length: 0, as those of container tools do.
	Empty bool
	// Malformed is a flaw of the head that is to be refused, empty for none.
	Malformed string
	// Answers are those to the first, second, ... arrival. The last one counts
	// for all further ones.
	Answers []Answer
}

// idempotent reports whether the request may be repeated (RFC 9110 section
// 9.2.2).
func (r *Request) idempotent() bool {
	switch r.Method {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS":
		return !r.Upgrade
	}
	return r.Keyed
}

// Answer is what an instance does with one arrival of a request.
type Answer struct {
	Status  int
	Framing Framing
	Size    int
	Chunk   int
	Delay   time.Duration
	Piece   int // written at once, 0 for all
	Pause   time.Duration
	Interim []int
	Trailer bool
	Close   bool
	// Odd answers have what cannot mislead but is seldom seen: a blank before a
	// colon, blanks before a chunk extension, a coding on an answer without body.
	Odd bool
	// HSTS answers have a Strict-Transport-Security of their own.
	HSTS bool
	// Early answers come before the body was read.
	Early bool
	// Flaw is what is wrong with it, and At where, in bytes of the answer.
	Flaw Flaw
	At   int
}

// Flaw is what is wrong with an answer.
type Flaw string

// The flaws.
const (
	Fine        Flaw = ""
	ResetUnread Flaw = "reset without having read the body"
	ResetRead   Flaw = "reset after the request was read"
	FinRead     Flaw = "closed after the request was read"
	ResetAt     Flaw = "reset within the answer"
	FinAt       Flaw = "closed within the answer"
	StallAt     Flaw = "silent within the answer"
	BadHead     Flaw = "a malformed head"
	BadChunk    Flaw = "a malformed chunk"
	TooMuch     Flaw = "bytes that nobody asked for"
)

// FaultKind is something that goes wrong at a moment.
type FaultKind string

// The kinds of faults.
const (
	Replace      FaultKind = "replace an instance"
	Add          FaultKind = "add an instance"
	Retag        FaultKind = "register an instance again with a tag more"
	Kill         FaultKind = "kill an instance"
	Hang         FaultKind = "stop an instance for a while"
	ResetConns   FaultKind = "reset an instance's connections"
	CutThere     FaultKind = "cut the way to an instance"
	CutBack      FaultKind = "cut the way back from an instance"
	CutBoth      FaultKind = "cut both ways of an instance"
	NomadErrors  FaultKind = "Nomad answers 500"
	NomadSilent  FaultKind = "Nomad is silent"
	NomadForbids FaultKind = "Nomad refuses the token"
	NomadEnds    FaultKind = "Nomad ends all streams"
	FileBroken   FaultKind = "the services file is no JSON"
	FileTouched  FaultKind = "the services file is written again"
	ConfigBroken FaultKind = "the config file is wrong"
	ConfigAgain  FaultKind = "the config file is read again"
	Restart      FaultKind = "restart serai"
	KillAndStart FaultKind = "kill serai and start it"
)

// Fault is a kind of fault at a moment.
type Fault struct {
	Name    string // f1
	Kind    FaultKind
	At      time.Duration
	Lasts   time.Duration
	Service *Service // nil for those of serai and Nomad
	Which   int      // of its instances
}

// without returns the program without the named parts. A service takes the
// faults and requests for it along.
func (p *Program) without(names []string) *Program {
	gone := make(map[string]bool, len(names))
	for _, n := range names {
		gone[n] = true
	}
	kept := *p
	kept.Services, kept.Clients, kept.Faults = nil, nil, nil
	moved := make(map[*Service]*Service)
	for _, s := range p.Services {
		if gone[s.Name] {
			continue
		}
		copied := *s
		copied.Tags = nil
		for _, t := range s.Tags {
			if !gone[t.Name] {
				copied.Tags = append(copied.Tags, t)
			}
		}
		moved[s] = &copied
		kept.Services = append(kept.Services, &copied)
	}
	for _, c := range p.Clients {
		copied := *c
		copied.Requests = nil
		for _, r := range c.Requests {
			if gone[r.Name] || r.Service != nil && moved[r.Service] == nil {
				continue
			}
			request := *r
			request.Service = moved[r.Service]
			copied.Requests = append(copied.Requests, &request)
		}
		if !gone[c.Name] && len(copied.Requests) > 0 {
			kept.Clients = append(kept.Clients, &copied)
		}
	}
	for _, f := range p.Faults {
		if gone[f.Name] || f.Service != nil && moved[f.Service] == nil {
			continue
		}
		copied := *f
		copied.Service = moved[f.Service]
		kept.Faults = append(kept.Faults, &copied)
	}
	return &kept
}

// names lists what can be left out, the largest parts first.
func (p *Program) names() (levels [][]string) {
	var services, clients, faults, requests, tags []string
	for _, s := range p.Services {
		services = append(services, s.Name)
		for _, t := range s.Tags {
			if t.Key != "host" {
				tags = append(tags, t.Name)
			}
		}
	}
	for _, c := range p.Clients {
		clients = append(clients, c.Name)
		for _, r := range c.Requests {
			requests = append(requests, r.Name)
		}
	}
	for _, f := range p.Faults {
		faults = append(faults, f.Name)
	}
	return [][]string{services, clients, faults, requests, tags}
}
