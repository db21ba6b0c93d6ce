package policy

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strconv"
	"time"

	"serai/wire"
)

// ErrRateLimited is the answer to a request beyond a route's rate.
var ErrRateLimited = &wire.Error{Status: 429, Code: "rate-limited", Detail: "too many requests: come back later"}

// Rate bounds the requests of each client, or of whatever they are counted by, on this
// node.
type Rate struct {
	// Number of requests are allowed per Per: a second, a minute or an hour.
	Number int
	Per    time.Duration
	// Burst is how many may come at once.
	Burst int
	By    RateBy
	// Header is the name of the field that requests are counted by, in lower case.
	Header string
}

// RateBy is what requests are counted by.
type RateBy uint8

// The values of the rate-by tag.
const (
	RateByClient RateBy = iota // the client's address, of IPv6 its /64
	RateByHeader               // the value of a field; of a request without it, the client
	RateByHost                 // the host that is asked for
)

// String returns the rate as its tag writes it.
func (r *Rate) String() string {
	return strconv.Itoa(r.Number) + "/" + map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
}

// every is the time that a request takes, never shorter than the rate says.
func (r *Rate) every() time.Duration {
	return (r.Per + time.Duration(r.Number) - 1) / time.Duration(r.Number)
}

// rate answers the requests beyond a Rate, and tells those within it how many are left.
type rate struct {
	Rate
	table  *rateTable
	place  int        // among the rates of the list
	name   string     // in the fields, quoted
	policy wire.Field // RateLimit-Policy
}

var (
	_ RequestPolicy = (*rate)(nil)
	_ AnswerPolicy  = (*rate)(nil)
)

func compileRate(o *OfRoute, s *State) Policy {
	if o.Rate == nil {
		return nil
	}
	table := Keep(s, "rate", func() *rateTable { return newRateTable(s.rates()) })
	p := &rate{Rate: *o.Rate, table: table}
	p.setPlace(0)
	return p
}

// setPlace says how many rates precede this one in its list, before the list is used. Their
// names in the fields differ: each has a window and a count of its own.
func (p *rate) setPlace(n int) {
	p.place, p.name = n, strconv.Quote(rateName)
	if n > 0 {
		p.name = strconv.Quote(rateName + "-" + strconv.Itoa(n+1))
	}
	p.policy = field("RateLimit-Policy", fmt.Sprintf("%s;q=%d;w=%d", p.name, p.Number, p.Per/time.Second))
}

// rateNote is what a request has been told about a rate.
type rateNote struct {
	counted bool
	verdict rateVerdict
}

// Request implements RequestPolicy.
func (p *rate) Request(r Request, reply *Reply) (answered bool) {
	v := p.table.take(p.key(r, reply.Values.Start()), p.every(), p.Burst)
	r.Learned().noteRate(p.place, v)
	if v.ok {
		return false
	}
	reply.refuse(ErrRateLimited)
	wait := reply.Values.Keep(strconv.AppendInt(reply.Values.Start(), seconds(v.wait), 10))
	reply.Fields = append(reply.Fields, wire.Field{Name: nameRetryAfter, Value: wait})
	return true
}

// noteRate notes what a rate of the list has said.
func (l *Learned) noteRate(place int, v rateVerdict) {
	for len(l.rates) <= place {
		l.rates = append(l.rates, rateNote{})
	}
	l.rates[place] = rateNote{true, v}
}

// rateName is the name of the policy in the fields, of several with a number behind it. An
// instance may have limits of its own, with other names.
const rateName = "serai"

var nameRetryAfter, nameRateLimit = []byte("Retry-After"), []byte("RateLimit")

// Answer implements AnswerPolicy: the fields of draft-ietf-httpapi-ratelimit-headers,
// beside those of the instance. Both are lists. Of a request that another policy has
// refused before it was counted, nothing is told.
func (p *rate) Answer(a *Answer) {
	notes := a.Request.Learned().rates
	if p.place >= len(notes) || !notes[p.place].counted {
		return
	}
	note := notes[p.place]
	left := max(0, p.every()*time.Duration(p.Burst)-note.verdict.full) / p.every()
	left = min(left, time.Duration(p.Number)) // the field has no word for a larger burst
	until := note.verdict.full
	if left == 0 {
		until = note.verdict.wait // as Retry-After
	}
	value := append(append(a.Values.Start(), p.name...), ";r="...)
	value = strconv.AppendInt(value, int64(left), 10)
	value = append(value, ";t="...)
	value = strconv.AppendInt(value, seconds(until), 10)
	a.Add(p.policy)
	a.Add(wire.Field{Name: nameRateLimit, Value: a.Values.Keep(value)})
}

// seconds rounds up, so that who waits that long has waited long enough.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// key is the hash of what the request is counted by. Nobody outside knows its seed, so
// nobody can choose keys that share a group. The rate is a part of it: after a change of
// the tag clients are counted anew, since what they owe was measured in another rate.
// Scratch is memory that may be overwritten.
func (p *rate) key(r Request, scratch []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(p.table.rates.seed)
	var of [17]byte
	binary.LittleEndian.PutUint64(of[:], uint64(p.every()))
	binary.LittleEndian.PutUint64(of[8:], uint64(p.Burst))
	of[16] = byte(p.By)
	h.Write(of[:])
	switch p.By {
	case RateByHost:
		h.Write(r.AppendHost(scratch))
		return h.Sum64()
	case RateByHeader:
		h.WriteString(p.Header)
		if value := wire.Get(r.Received().Fields, p.Header); len(value) > 0 {
			h.WriteByte(':')
			h.Write(value)
			return h.Sum64()
		}
		h.WriteByte(0) // no name has it
	}
	writeClient(&h, r.ClientAddr())
	return h.Sum64()
}

// writeClient writes an IPv4 address, or the /64 of an IPv6 address: that is what one
// client has. Clients whose address is not known are one.
func writeClient(h *maphash.Hash, a netip.Addr) {
	switch {
	case a.Is4():
		b := a.As4()
		h.WriteByte(4)
		h.Write(b[:])
	case a.Is6():
		b := a.As16()
		h.WriteByte(6)
		h.Write(b[:8])
	}
}

// Explain implements Policy.
func (p *rate) Explain() string {
	by := "client address, of IPv6 its /64"
	switch p.By {
	case RateByHeader:
		by = "value of the field " + p.Header + ", or where that is missing for each client address"
	case RateByHost:
		by = "host"
	}
	return fmt.Sprintf("rate: %s on this node for each %s; %d may come at once, and those beyond are answered 429", p.Rate.String(), by, p.Burst)
}
