package claims

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"serai/internal/atomicfile"
	"serai/nomad"
)

// watch reads the record, and again whenever it has changed.
func (w *work) watch(ctx context.Context, out chan<- reading) {
	variable := nomad.Follower{Client: w.options.Client, Namespace: w.options.Namespace, Path: w.options.Path, Older: w.older}
	variable.Run(ctx, func(v *nomad.Variable, err error) {
		r := reading{err: err}
		if err == nil {
			r.record = recordOf(v)
		}
		select {
		case out <- r:
		case <-ctx.Done():
		}
	})
}

// older reports whether an answer is older than the known version, or than what this node
// has written.
func (w *work) older(_ *nomad.Variable, index, version uint64) bool {
	if index >= max(version, w.written.Load()) {
		return false
	}
	w.written.Store(0)
	return true
}

// recordOf decodes a variable, which is nil when it does not exist.
func recordOf(v *nomad.Variable) Record {
	if v == nil {
		return decode(nil, 0)
	}
	return decode(v.Items, v.ModifyIndex)
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
