package claims

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"serai/nomad"
	"serai/router"
)

// Jobs asks Nomad whether a job still wants what its services claim.
type Jobs struct {
	Client *nomad.Client
	Logger *slog.Logger
}

// Offers returns the tags with which instances of an absent service would come,
// none when its job is stopped, purged, scaled to zero, or has the service no
// more. Known is false when Nomad does not say: then nothing is to be changed.
// Nomad's leader is asked: another server may not have heard of a new job yet.
func (j *Jobs) Offers(ctx context.Context, a router.Absence) (offers [][]string, known bool) {
	services, err := j.Client.JobServices(ctx, a.Job, nomad.Query{Namespace: a.Namespace})
	switch {
	case errors.Is(err, nomad.ErrNotFound):
		return nil, true
	case err != nil:
		if j.Logger != nil {
			j.Logger.Debug("whether a job goes on is not known", "namespace", a.Namespace, "job", a.Job, "error", err)
		}
		return nil, false
	}
	for _, s := range services {
		if s.Name == a.Name || strings.Contains(s.Name, "${") {
			offers = append(offers, s.Tags, s.CanaryTags)
		}
	}
	return offers, true
}
