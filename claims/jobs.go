package claims

import (
	"context"
	"errors"
	"log/slog"

	"serai/nomad"
	"serai/router"
)

// Jobs asks Nomad whether a job still wants the claims of its services.
type Jobs struct {
	Client *nomad.Client
	Logger *slog.Logger
}

// Offers returns what instances of an absent service's job would register, none when it
// is stopped, purged, or scaled to zero. Known is false when Nomad does not say: then
// nothing must be changed. It asks Nomad's leader: another server may not know a new
// job yet.
func (j *Jobs) Offers(ctx context.Context, a router.Absence) (offers []router.Offer, known bool) {
	services, err := j.Client.JobServices(ctx, a.Job, nomad.Query{Namespace: a.Namespace})
	switch {
	case errors.Is(err, nomad.ErrNotFound) && nomad.JobUnknown(err):
		return nil, true
	case err != nil:
		if j.Logger != nil {
			j.Logger.Debug("cannot find out whether a job goes on", "namespace", a.Namespace, "job", a.Job, "error", err)
		}
		return nil, false
	}
	for _, s := range services {
		offers = append(offers, router.Offer{Service: s.Name, Tags: s.Tags}, router.Offer{Service: s.Name, Tags: s.CanaryTags})
	}
	return offers, true
}
