package chaos

import (
	"fmt"
	"strings"
)

// remark is text that is printed if it applies.
type remark struct {
	is   bool
	text string
}

// say joins the remarks that apply.
func say(all ...remark) (s string) {
	for _, r := range all {
		if r.is {
			s += ", " + r.text
		}
	}
	return s
}

// String tells the program in words.
func (p *Program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "serai %s%s\n", strings.Join(p.Flags, " "), say(
		remark{p.Files > 0, fmt.Sprintf("with %d descriptors", p.Files)}, remark{p.Config, "with a config file"}))
	for _, s := range p.Services {
		b.WriteString(s.String())
	}
	for _, f := range p.Faults {
		b.WriteString(f.String())
	}
	for _, c := range p.Clients {
		b.WriteString(c.String())
	}
	return b.String()
}

func (s *Service) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %d instances%s\n", s.Name, s.Flavour, len(s.Own), say(
		remark{s.Static, "in the services file"},
		remark{s.Relayed, "behind a relay"},
		remark{s.IdleClose > 0, fmt.Sprintf("close unused connections after %v", s.IdleClose)}))
	for _, t := range s.Tags {
		fmt.Fprintf(&b, "  %s %s\n", t.Name, t)
	}
	for i, own := range s.Own {
		if len(own) > 0 {
			fmt.Fprintf(&b, "  instance %d: %s\n", i, strings.Join(own, " "))
		}
	}
	return b.String()
}

func (f *Fault) String() string {
	s := fmt.Sprintf("%s at %v: %s", f.Name, f.At, f.Kind)
	if f.Service != nil {
		s += fmt.Sprintf(" (%s, instance %d)", f.Service.Name, f.Which)
	}
	if f.Lasts > 0 {
		s += fmt.Sprintf(" for %v", f.Lasts)
	}
	return s + "\n"
}

func (c *Client) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %v%s\n", c.Name, c.Start, say(
		remark{c.TLS, "TLS"},
		remark{c.Announced != "", "announced by PROXY " + c.Announced},
		remark{c.Pipelined, "pipelined"},
		remark{c.Piece > 0 && !c.Trickles, fmt.Sprintf("writes %d bytes each %v", c.Piece, c.Pause)},
		remark{c.Trickles, fmt.Sprintf("its bodies trickle, %d bytes each %v", c.Piece, c.Pause)},
		remark{c.Keeps, "keeps its cookie"},
		remark{c.ReadPiece > 0, fmt.Sprintf("reads %d bytes each %v", c.ReadPiece, c.ReadPause)},
		remark{c.Abort >= 0 && c.Reset, fmt.Sprintf("resets after %d bytes", c.Abort)},
		remark{c.Abort >= 0 && !c.Reset, fmt.Sprintf("closes after %d bytes", c.Abort)},
		remark{c.HalfClose, "closes its side"},
		remark{c.Extra != "", fmt.Sprintf("sends %q %v behind the last request", c.Extra, c.ExtraAfter)}))
	for _, r := range c.Requests {
		b.WriteString(r.String())
	}
	return b.String()
}

func (r *Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s %s http://%s%s HTTP/1.%d, body %s %d%s\n", r.Name, r.Method, r.Host, r.target(), r.Minor, r.Framing, r.Size, say(
		remark{r.Framing == Chunked, fmt.Sprintf("in chunks of %d", r.Chunk)},
		remark{r.Trailer, "trailer"},
		remark{r.Expect, "Expect"},
		remark{r.Close, "close"},
		remark{r.Keyed, "Idempotency-Key"},
		remark{r.Upgrade, fmt.Sprintf("upgrade with %d bytes early", r.EarlyUp)},
		remark{r.Empty, "Content-Length: 0"},
		remark{r.Malformed != "", r.Malformed},
		remark{len(r.Fields) > 0, strings.Join(r.Fields, "; ")}))
	for i := range r.Answers {
		fmt.Fprintf(&b, "    %s\n", r.Answers[i].String())
	}
	return b.String()
}

func (a Answer) String() string {
	return fmt.Sprintf("-> %d, body %s %d%s", a.Status, a.Framing, a.Size, say(
		remark{a.Framing == Chunked, fmt.Sprintf("in chunks of %d", a.Chunk)},
		remark{a.Delay > 0, fmt.Sprintf("after %v", a.Delay)},
		remark{a.Piece > 0, fmt.Sprintf("%d bytes each %v", a.Piece, a.Pause)},
		remark{len(a.Interim) > 0, fmt.Sprint("first ", a.Interim)},
		remark{a.Trailer, "trailer"},
		remark{a.Early, "before the body was read"},
		remark{a.Odd, "odd"},
		remark{a.HSTS, "a Strict-Transport-Security of its own"},
		remark{a.Close, "Connection: close"},
		remark{a.Flaw != Fine, fmt.Sprintf("%s (at byte %d)", a.Flaw, a.At)}))
}
