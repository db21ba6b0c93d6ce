package claims

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"serai/internal/atomicfile"
	"serai/nomad"
)

// firstRetry and lastRetry bound the pause between attempts to read the record. A
// permission that is restored should be used within seconds.
const (
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
)

// maxWait is how long one blocking query lasts. An agent continues it, and counts its
// connection, after the client has gone.
const maxWait = time.Minute

// watch reads the record, and again whenever it has changed.
func (w *work) watch(ctx context.Context, out chan<- reading) {
	var index, version uint64
	retry := firstRetry
	for {
		r, next, err := w.fetch(ctx, index, version)
		if ctx.Err() != nil {
			return
		}
		select {
		case out <- reading{r, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			index = 0 // to see at once when the record is valid again
			pause(ctx, retry/2+rand.N(retry))
			retry = min(2*retry, lastRetry)
			continue
		}
		if next == index || index > 0 && r.version == 0 && version == 0 {
			// The query timed out, there was no variable, or another one has changed.
			pause(ctx, time.Second/2+rand.N(time.Second))
		}
		index, version, retry = next, r.version, firstRetry
	}
}

// fetch reads the record, once it has changed since index. If it looks older than the
// known version, fetch asks Nomad's leader, and only the leader is believed: in this
// way a restored state is accepted.
func (w *work) fetch(ctx context.Context, index, version uint64) (r Record, newIndex uint64, err error) {
	r, newIndex, err = w.ask(ctx, nomad.Query{Namespace: w.options.Namespace, Index: index, Wait: maxWait, Stale: index > 0})
	if err == nil && index > 0 && newIndex < max(version, w.written.Load()) {
		w.written.Store(0)
		return w.ask(ctx, nomad.Query{Namespace: w.options.Namespace})
	}
	if errors.Is(err, nomad.ErrUnavailable) && index == 0 && version == 0 { // there may be no leader for now
		return w.ask(ctx, nomad.Query{Namespace: w.options.Namespace, Stale: true})
	}
	return r, newIndex, err
}

func (w *work) ask(ctx context.Context, q nomad.Query) (Record, uint64, error) {
	v, meta, err := w.options.Client.Variable(ctx, w.options.Path, q)
	switch {
	case errors.Is(err, nomad.ErrNotFound):
		return decode(nil, 0), meta.Index, nil
	case err != nil:
		return Record{}, 0, err
	}
	return decode(v.Items, v.ModifyIndex), meta.Index, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// fileName is in the state directory.
const fileName = "claims.json"

// maxFile bounds the file: a record as JSON, however it is escaped.
const maxFile = 1 << 20

// cached returns the record that was read last, for a start while Nomad is unreachable.
// Its version is unknown, so it cannot be used to overwrite the variable.
func (w *work) cached() Record {
	none := decode(nil, 0)
	if w.options.StateDir == "" {
		return none
	}
	name := filepath.Join(w.options.StateDir, fileName)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	var text []byte
	if err == nil && info.Size() > maxFile {
		err = errors.New("it is too large")
	}
	if err == nil {
		text, err = os.ReadFile(name)
	}
	var items map[string]string
	if err == nil {
		err = json.Unmarshal(text, &items)
	}
	if err != nil {
		w.options.Logger.Warn("the cached order of contested claims is not used", "file", name, "error", err)
		return none
	}
	return decode(items, 0)
}

// keep writes the record into the state directory.
func (w *work) keep(r Record) {
	if w.options.StateDir == "" {
		return
	}
	text, err := json.MarshalIndent(r.items(), "", " ")
	if err == nil {
		err = atomicfile.Replace(filepath.Join(w.options.StateDir, fileName), text, false)
	}
	if err != nil {
		w.options.Logger.Warn("cannot save the order of contested claims for a start while nomad is unreachable", "error", err)
	}
}
