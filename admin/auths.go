package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"serai/policy/auth"
)

// AuthStatus is the state of what auths share, and of each.
type AuthStatus struct {
	Passwords auth.PasswordStatus
	// Questions counts those that forward auths have asked, by auth and result.
	Questions map[string]map[string]uint64
	// Waiting are the requests that wait for what each auth asks.
	Waiting []AuthWaiting
	// TooLong counts the answers of OpenID providers that were longer than they may be.
	TooLong uint64
}

// AuthWaiting are the requests that wait for a service, a provider or keys.
type AuthWaiting struct {
	Auth      string
	Now, Most int
}

var (
	passwordsKnown     = desc("serai_auth_passwords_known", "Correct passwords in the cache: not computed again for --password-cache-time.")
	passwordsLimit     = desc("serai_auth_passwords_known_limit", "Limit of serai_auth_passwords_known: --password-cache.")
	passwordsDisplaced = desc("serai_auth_passwords_displaced_total", "Correct passwords removed from the cache before --password-cache-time to make room: their next use is computed again.")
	passwordsComputed  = desc("serai_auth_passwords_computed_total", "Password hashes that were computed, by result: right or wrong.", "result")
	passwordsRefused   = desc("serai_auth_passwords_refused_total", "Requests refused without computing their password, by limit: length (--max-password-bytes), client (--password-client-waiting), all (--password-waiting), time (--password-wait).", "limit")
	passwordsWaiting   = desc("serai_auth_passwords_waiting", "Requests that wait until their password is computed.")
	passwordsMost      = desc("serai_auth_passwords_waiting_limit", "Limit of serai_auth_passwords_waiting: --password-waiting.")
	questions          = desc("serai_auth_questions_total", "Requests to routes with a forward auth, by result: passed, denied, unreachable, late, unusable (no valid HTTP response), too-long (--max-auth-answer-bytes), busy and client-busy (max_inflight), loop, client-gone.", "auth", "result")
	authWaiting        = desc("serai_auth_waiting", "Requests that wait for what an auth asks: the auth service, the OpenID provider or the signing keys.", "auth")
	authMost           = desc("serai_auth_waiting_limit", "Limit of serai_auth_waiting: max_inflight, or --key-waiting; a single client may use a quarter of it.", "auth")
	oidcTooLong        = desc("serai_oidc_answers_too_long_total", "Responses of OpenID providers refused because they were longer than --max-oidc-answer-bytes.")
	fieldsOmitted      = desc("serai_made_fields_omitted_total", "Headers of request-set and response-set left out because their values were longer than --max-made-bytes.")
)

func collectAuths(out chan<- prometheus.Metric, s AuthStatus) {
	p := &s.Passwords
	gauge(out, passwordsKnown, float64(p.Known))
	gauge(out, passwordsLimit, float64(p.Limit))
	counter(out, passwordsDisplaced, p.Displaced)
	counter(out, passwordsComputed, p.Right, "right")
	counter(out, passwordsComputed, p.Wrong, "wrong")
	for limit, n := range p.Refused {
		counter(out, passwordsRefused, n, limit)
	}
	gauge(out, passwordsWaiting, float64(p.Waiting))
	gauge(out, passwordsMost, float64(p.WaitingLimit))
	for auth, results := range s.Questions {
		for result, n := range results {
			counter(out, questions, n, auth, result)
		}
	}
	for _, w := range s.Waiting {
		gauge(out, authWaiting, float64(w.Now), w.Auth)
		gauge(out, authMost, float64(w.Most), w.Auth)
	}
	counter(out, oidcTooLong, s.TooLong)
}
