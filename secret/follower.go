package secret

import (
	"context"
	"errors"

	"serai/nomad"
)

// follower notes in the Store what one variable says.
type follower struct {
	*Store
	options Options
	path    string
	refused bool // the last answer was that it may not be read
}

func (f *follower) run(ctx context.Context) {
	variable := nomad.Follower{Client: f.options.Client, Namespace: f.options.Namespace, Path: f.path, Older: older}
	variable.Run(ctx, func(v *nomad.Variable, err error) { f.seen(ctx, v, err) })
}

// older reports whether a variable looks older than the known version, or gone.
func older(v *nomad.Variable, _, version uint64) bool {
	return version > 0 && (v == nil || v.ModifyIndex < version)
}

// seen records what a variable says, nil when it does not exist, or why that is not known.
func (f *follower) seen(ctx context.Context, v *nomad.Variable, err error) {
	switch {
	case err != nil:
		f.note(ctx, f.path, func(known *variable) { known.trouble = err.Error() })
	case v == nil:
		f.note(ctx, f.path, func(known *variable) { known.state, known.items, known.trouble = gone, nil, "" })
	default:
		f.note(ctx, f.path, func(known *variable) { known.state, known.items, known.trouble = present, v.Items, "" })
	}
	forbidden := errors.Is(err, nomad.ErrForbidden)
	if forbidden && !f.refused && f.options.Refused != nil {
		f.options.Refused(f.path, err)
	}
	f.refused = forbidden
}
