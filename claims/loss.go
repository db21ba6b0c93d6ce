package claims

import (
	"maps"
	"slices"

	"serai/router"
)

// take makes a record the known one. A contest that is missing in it has either been
// ended by another node, later than what is known here, or it is lost: Nomad was
// restored, or somebody removed the variable. An ended contest is forgotten; the order
// of a lost one stays, and is written again.
func (w *work) take(r Record) {
	ended := func(name string) bool {
		return r.version > w.record.version && slices.Contains(r.ended, name) && !slices.Contains(w.record.ended, name)
	}
	for name, claimants := range w.known(w.record) {
		switch {
		case r.order[name] != nil:
			delete(w.lost, name)
		case ended(name):
			delete(w.lost, name)
			w.ended[name] = w.number + 1 // the number of the next Agreed
		case w.told != "": // otherwise nothing depends on what was saved
			w.lost[name] = claimants
		}
	}
	if !r.equal(w.record) {
		w.keep(r)
	}
	w.record = r
}

// known is the order of a record together with the lost contests.
func (w *work) known(r Record) router.Agreement {
	if len(w.lost) == 0 {
		return r.order
	}
	all := maps.Clone(w.lost)
	maps.Copy(all, r.order)
	return all
}

// settle forgets lost contests that do not go on, and ended ones that no View can
// contain any more.
func (w *work) settle() {
	for _, c := range w.view.Contests {
		if w.lost[c.Name] != nil && w.view.Complete && !worthRecording(c) && !slices.ContainsFunc(w.lost[c.Name], w.unwatched) {
			delete(w.lost, c.Name)
		}
	}
	maps.DeleteFunc(w.ended, func(_ string, number uint64) bool { return w.view.Agreed >= number })
}

// unwatched reports whether a claimant is not known here.
func (w *work) unwatched(c router.Claimant) bool { return !w.options.Watched(c.Namespace) }
