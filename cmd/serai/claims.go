package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"serai/claims"
	"serai/discovery"
	"serai/internal/history"
	"serai/nomad"
	"serai/router"
	"serai/tls/certstore"
)

// newClaims makes what keeps the order of contested claims. Without Nomad there
// is nobody to agree with.
func (s *system) newClaims(namespaces *discovery.Namespaces) (err error) {
	parts := []string{"claims", s.TagPrefix}
	if s.Class != "" {
		parts = append(parts, s.Class)
	}
	s.claims, err = claims.New(claims.Options{
		Client: s.client, Namespace: s.env.getenv("NOMAD_NAMESPACE"), Path: certPrefix + "/" + certstore.Path(parts...),
		Watched: func(namespace string) bool { return s.watches(namespaces, namespace) }, Linger: s.Linger.value(), StateDir: s.StateDir, Logger: s.logger,
		Refused: func(err error) {
			s.tellPolicy("nomad does not let serai write down who holds a contested host", nomad.NewAccessError(s.access(true), err))
		},
	})
	return err
}

// watches reports whether the services of a namespace are known here.
func (s *system) watches(namespaces *discovery.Namespaces, namespace string) bool {
	if namespace == discovery.ConsulNamespace {
		return s.Consul.given
	}
	return namespaces.Match(namespace)
}

// access is what is asked of Nomad.
func (s *system) access(variables bool) nomad.Access {
	namespaces, _ := discovery.ParseNamespaces(s.Namespaces)
	access := nomad.Access{Namespaces: namespaces.Scopes(), Job: s.env.getenv("NOMAD_JOB_ID"), JobNamespace: s.env.getenv("NOMAD_NAMESPACE"), VariablesNamespace: s.env.getenv("NOMAD_NAMESPACE"),
		Read: s.file.named.variables()}
	if path := s.AdminFlags.TokenPath; path != "" && !slices.Contains(access.Read, path) {
		access.Read = append(access.Read, path)
	}
	if variables {
		access.Variables = certPrefix
	}
	return access
}

// follower makes tables of what is told to it.
type follower struct {
	*system
	ctx      context.Context
	complete bool // the last snapshot told all that exists
	// left is a snapshot of which the table lacks something; again is closed then,
	// nil otherwise.
	left    *discovery.Snapshot
	again   chan struct{}
	agreed  <-chan claims.Agreed
	number  uint64 // of the last one
	answers chan answer
	asking  sync.WaitGroup
	asked   int // questions without an answer yet
}

// answer is what Nomad says about a job whose services are gone.
type answer struct {
	router.Absence
	offers []router.Offer
	known  bool
}

// lookInterval is how often it is looked whether somebody waits for the end of
// a route that lingers. It costs nothing while none does.
const lookInterval = 500 * time.Millisecond

// maxAsked bounds the questions about jobs under way: with a node hundreds of
// services may be gone.
const maxAsked = 4

// follow makes a table of each snapshot.
func (s *system) follow(ctx context.Context, snapshots <-chan *discovery.Snapshot) error {
	f := &follower{system: s, ctx: ctx, answers: make(chan answer)}
	defer f.asking.Wait()
	if s.claims != nil {
		f.agreed = s.claims.Agreed()
		f.awaitClaims()
	}
	var changes <-chan configChange
	if s.config != nil {
		changes = s.config.next
	}
	expiry := time.NewTimer(time.Hour)
	defer expiry.Stop()
	known := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case snapshot := <-snapshots:
			f.update(snapshot)
			if !known && !snapshot.Partial {
				known = true
				close(s.first)
			}
		case <-f.again:
			f.update(f.left)
		case a := <-f.agreed:
			f.agree(a)
		case a := <-f.answers:
			f.asked--
			if a.known {
				f.withdraw(a)
			}
		case c := <-changes:
			f.configure(c)
		case <-expiry.C:
			s.builder.Expire()
		}
		if s.claims != nil {
			s.claims.See(claims.View{Contests: s.builder.Contests(), Complete: f.complete, Agreed: f.number})
		}
		next := s.builder.NextExpiry()
		switch {
		case next.IsZero():
			expiry.Stop()
		case s.client == nil:
			expiry.Reset(time.Until(next))
		default:
			f.ask()
			expiry.Reset(min(time.Until(next), lookInterval))
		}
	}
}

// claimsTimeout is how long the first table waits for the order of contested
// claims.
const claimsTimeout = 3 * time.Second

// awaitClaims lets the first table know what is agreed.
func (f *follower) awaitClaims() {
	select {
	case <-f.claims.Known():
	case <-f.ctx.Done():
	case <-time.After(claimsTimeout):
		f.logger.Warn("the record of contested claims has not been read yet: until then the oldest registration wins")
	}
	select {
	case a := <-f.agreed:
		f.agree(a)
	default:
	}
}

func (f *follower) agree(a claims.Agreed) {
	f.builder.Agree(a.Order, a.Trouble)
	f.number = a.Number
}

func (f *follower) update(snapshot *discovery.Snapshot) {
	began := time.Now()
	if f.builder.Step(snapshot) {
		if f.left, f.complete = snapshot, false; f.again == nil {
			f.again = make(chan struct{})
			close(f.again)
		}
		return
	}
	f.left, f.again = nil, nil
	f.complete = !snapshot.Partial && snapshot.Origin == discovery.OriginLive
	f.admin.Published(snapshot, time.Since(began))
	if f.obtain != nil {
		f.obtain.Changed()
	}
}

// configure makes all routes anew, as another config file wants them.
func (f *follower) configure(c configChange) {
	err := f.builder.Configure(router.Config{Catalog: c.catalog, Owners: c.namespaceHosts, Share: c.shares})
	if err == nil && f.obtain != nil {
		f.obtain.Changed()
	}
	c.applied <- err
}

// ask asks Nomad about jobs for whose end somebody waits.
func (f *follower) ask() {
	for _, a := range f.builder.Absences(maxAsked - f.asked) {
		f.asked++
		f.asking.Go(func() {
			select { // all nodes see it at the same time
			case <-time.After(rand.N(lookInterval)):
			case <-f.ctx.Done():
				return
			}
			jobs := claims.Jobs{Client: f.client, Logger: f.logger}
			offers, known := jobs.Offers(f.ctx, a)
			select {
			case f.answers <- answer{a, offers, known}:
			case <-f.ctx.Done():
			}
		})
	}
}

// withdraw ends what a job does not claim any more.
func (f *follower) withdraw(a answer) {
	for _, r := range f.builder.Withdraw(a.Absence, a.offers) {
		history.Tell(f.logger, slog.LevelInfo, history.RouteWithdrawn, "a route has ended: its job was stopped, or does not register it any more",
			"namespace", r.Namespace, "service", r.Service, "route", r.Name, "job", a.Job, "host", r.Host)
	}
}
