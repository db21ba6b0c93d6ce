package admin

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// logLevelPath is the one path that takes PUT.
const logLevelPath = "/log-level"

// levelWait is how long the few bytes of its body may take.
const levelWait = 10 * time.Second

func (a *Admin) serveLogLevel(w http.ResponseWriter, _ *http.Request) {
	text(w, a.options.LogLevel.Level().String()+"\n")
}

// putLogLevel sets the level, for who is on this machine, or for everybody who has been let in
// where somebody is asked. A browser sends no PUT to another
// site without asking first, which readOnly refuses, and always says where it comes from.
func (a *Admin) putLogLevel(w http.ResponseWriter, r *http.Request) {
	switch {
	case a.options.LogLevel == nil || r.Header.Get("X-Serai-Hops") != "" || r.Header.Get("Origin") != "" || !a.ownHost(r):
		http.Error(w, "the log level cannot be changed by such a request: use serai log-level", http.StatusForbidden)
		return
	case !a.options.Access.asks() && !local(r):
		http.Error(w, "the level of the log can be changed from the machine itself alone, unless the admin asks for a token or a certificate: use serai log-level there, or SIGUSR1", http.StatusForbidden)
		return
	}
	// A body that never comes would keep the connection. Without a socket there is nothing to wait for.
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(levelWait))
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
