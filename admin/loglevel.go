package admin

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
)

// logLevelPath is the one path that takes PUT.
const logLevelPath = "/log-level"

func (a *Admin) serveLogLevel(w http.ResponseWriter, _ *http.Request) {
	text(w, a.options.LogLevel.Level().String()+"\n")
}

// putLogLevel sets the level, for who is on this machine. A browser sends no PUT to another
// site without asking first, which readOnly refuses, and always says where it comes from.
func (a *Admin) putLogLevel(w http.ResponseWriter, r *http.Request) {
	noSniff(w)
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case a.options.LogLevel == nil || r.Header.Get("X-Serai-Hops") != "" || r.Header.Get("Origin") != "" || !ownHost(r.Host):
		http.Error(w, "the level of the log is not changed so: use serai log-level", http.StatusForbidden)
		return
	case err != nil || !from.Addr().Unmap().IsLoopback():
		http.Error(w, "the level of the log can be changed from the machine itself alone: use serai log-level there, or SIGUSR1", http.StatusForbidden)
		return
	}
	word, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
	var level slog.Level
	if err == nil {
		err = level.UnmarshalText([]byte(strings.TrimSpace(string(word))))
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("%.32q is not DEBUG, INFO, WARN or ERROR", word), http.StatusBadRequest)
		return
	}
	was := a.options.LogLevel.Level()
	a.options.LogLevel.Set(level)
	a.options.Logger.Log(r.Context(), max(was, level, slog.LevelInfo), "the level of the log was changed", "level", level.String(), "was", was.String())
	text(w, level.String()+"\n")
}
