package router

import (
	"log/slog"
	"slices"
	"strings"

	"serai/internal/history"
)

// Limits for the log lines of one update: rejections that are logged one by one,
// normally and at the start, when they are DEBUG lines.
const (
	maxReported      = 20
	maxReportedFirst = 200
	// maxNoted bounds the rejections of one update that are kept until it is logged, of
	// which there may be a hundred thousand; those beyond are counted.
	maxNoted = 2000
)

// note compares rejections with those of the last table. A rejection has ended only if
// no other one replaces it: a claim whose holder has changed is still refused.
func (u *update) note(old, next []Rejection) {
	u.news.add(subtract(next, old))
	u.ended.add(subtract(old, next))
}

// noted is rejections that are to be logged.
type noted struct {
	kept []Rejection
	more int // that are not kept
}

func (n *noted) add(all []Rejection) {
	fit := min(len(all), maxNoted-len(n.kept))
	n.kept = append(n.kept, all[:fit]...)
	n.more += len(all) - fit
}

// subtract returns the rejections of all that are not in others.
func subtract(all, others []Rejection) (rest []Rejection) {
	known := make(map[string]bool, len(others))
	for i := range others {
		known[others[i].identity()] = true
	}
	for i := range all {
		if !known[all[i].identity()] {
			rest = append(rest, all[i])
		}
	}
	return rest
}

// identity distinguishes a rejection from others. A claim that is held is identified by
// its holder, because the text changes with the holder's instances; one of whole instances
// has other hosts whenever other instances are refused.
func (r *Rejection) identity() string {
	why := r.Why
	if r.Holder != "" {
		why = ""
	}
	hosts := ""
	if !r.Instance {
		hosts = strings.Join(r.Hosts, ",")
	}
	return strings.Join([]string{r.Namespace, r.Service, r.Route, r.Tag, hosts, r.Holder, why}, "\x00")
}

// report logs new rejections and ended ones. At the start that is one line, because
// every restart would repeat them all.
func (b *Builder) report(u *update) {
	slices.SortFunc(u.news.kept, Rejection.compare)
	slices.SortFunc(u.ended.kept, Rejection.compare)
	if !b.complete {
		b.reportFirst(u.news)
		return
	}
	logger := b.options.Logger
	for i, r := range u.news.kept {
		level := slog.LevelWarn
		if i == maxReported {
			logger.Warn("more refusals are not logged; see /rejections", "refusals", len(u.news.kept)-i+u.news.more)
		}
		if i >= maxReported {
			level = slog.LevelDebug
		}
		history.Tell(logger, level, r.kind(), "refused", r.attributes()...)
	}
	for i, r := range u.ended.kept {
		level := slog.LevelInfo
		if i == maxReported {
			logger.Info("more ends of refusals are not logged; see /rejections", "refusals", len(u.ended.kept)-i+u.ended.more)
		}
		if i >= maxReported {
			level = slog.LevelDebug
		}
		history.Tell(logger, level, history.RejectionEnded, "no longer refused", r.attributes()...)
	}
	b.reportMoves(u)
}

// kind is what the history calls the rejection.
func (r Rejection) kind() history.Kind {
	if r.Holder != "" {
		return history.RouteContested
	}
	return history.Rejected
}

// reportFirst logs a summary of the rejections at the start.
func (b *Builder) reportFirst(news noted) {
	all := news.kept
	if len(all) == 0 {
		return
	}
	services := make(map[string]bool)
	for i, r := range all {
		services[r.Namespace+"/"+r.Service] = true
		if i < maxReportedFirst {
			b.options.Logger.Debug("refused", r.attributes()...)
		}
	}
	history.Tell(b.options.Logger, slog.LevelWarn, history.Rejected, "refused at the start; see /rejections", "refusals", len(all)+news.more, "services", len(services), slog.String("first", all[0].String()))
}

// attributes are the fields of the log line, without empty ones.
func (r Rejection) attributes() []any {
	list := []any{"namespace", r.Namespace, "service", r.Service}
	for _, a := range []struct{ name, value string }{
		{"job", r.Job}, {"route", r.Route}, {"tag", r.Tag}, {"hosts", strings.Join(r.Hosts[:min(len(r.Hosts), maxAllocs)], ",")},
		{"holder", r.Holder}, {"why", r.Why}, {"instead", r.Instead},
	} {
		if a.value != "" {
			list = append(list, a.name, a.value)
		}
	}
	return append(list, "instances", r.Instances)
}
