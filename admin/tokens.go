package admin

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TokenStatus is the state of what jwt auths know.
type TokenStatus struct {
	// Known is how many verified tokens are kept, in Bytes of at most Limit; Displaced
	// counts those that made room before they expired.
	Known        int
	Bytes, Limit int64
	Displaced    uint64
	// Outcomes counts tokens by auth and what became of them.
	Outcomes map[string]map[string]uint64
	// Keys are those that auths fetch.
	Keys []KeyStatus
}

// KeyStatus is the state of the keys that an auth fetches.
type KeyStatus struct {
	Auth string
	// Keys is how many are known, Ignored how many of the document are of no use.
	Keys, Ignored            int
	Fetched, Failed, Changed uint64
	// Checked is when they were fetched, zero if never. Problem is why the last fetch
	// failed, empty if it did not.
	Checked time.Time
	Problem string
}

// warnings say which keys are not known, or not as they are now.
func (s *TokenStatus) warnings() (why []string) {
	for _, k := range s.Keys {
		switch {
		case k.Problem == "":
		case k.Keys == 0:
			why = append(why, fmt.Sprintf("auth %s: its signing keys are not known, so it lets nobody in: %s", k.Auth, k.Problem))
		default:
			why = append(why, fmt.Sprintf("auth %s: its signing keys are those of %s, and cannot be fetched now: %s", k.Auth, k.Checked.UTC().Format(time.RFC3339), k.Problem))
		}
	}
	return why
}

var (
	tokenResults   = desc("serai_auth_tokens_total", "Requests to routes with a jwt auth, by result of checking their token: verified, known (cached), or why they were refused.", "auth", "result")
	tokensKnown    = desc("serai_auth_tokens_known", "Verified tokens in the cache: not verified again until they expire.")
	tokenBytes     = desc("serai_auth_token_bytes", "Memory in bytes used by cached tokens.")
	tokenLimit     = desc("serai_auth_token_bytes_limit", "Limit of serai_auth_token_bytes: --token-cache, at most a 64th of the memory.")
	tokenDisplaced = desc("serai_auth_tokens_displaced_total", "Tokens removed from the cache before they expired to make room: their next use is verified again.")
	keysKnown      = desc("serai_auth_keys", "Signing keys that a jwt auth has fetched and can use.", "auth")
	keysIgnored    = desc("serai_auth_keys_ignored", "Fetched keys that a jwt auth cannot use, such as keys of an unknown type.", "auth")
	keyFetches     = desc("serai_auth_key_fetches_total", "Fetches of a jwt auth's signing keys, by result.", "auth", "result")
	keyChanges     = desc("serai_auth_key_changes_total", "Fetches of a jwt auth's keys that brought other keys than the fetch before.", "auth")
	keyAge         = desc("serai_auth_keys_age_seconds", "Time since the last successful fetch of a jwt auth's keys; absent before the first one.", "auth")
	keyFailing     = desc("serai_auth_keys_failing", "1 if the last fetch of a jwt auth's keys failed and the earlier keys stay in use, else 0.", "auth")
)

func collectTokens(out chan<- prometheus.Metric, s TokenStatus) {
	gauge(out, tokensKnown, float64(s.Known))
	gauge(out, tokenBytes, float64(s.Bytes))
	gauge(out, tokenLimit, float64(s.Limit))
	counter(out, tokenDisplaced, s.Displaced)
	for auth, outcomes := range s.Outcomes {
		for result, n := range outcomes {
			counter(out, tokenResults, n, auth, result)
		}
	}
	for _, k := range s.Keys {
		gauge(out, keysKnown, float64(k.Keys), k.Auth)
		gauge(out, keysIgnored, float64(k.Ignored), k.Auth)
		counter(out, keyFetches, k.Fetched, k.Auth, "ok")
		counter(out, keyFetches, k.Failed, k.Auth, "failed")
		counter(out, keyChanges, k.Changed, k.Auth)
		if !k.Checked.IsZero() {
			gauge(out, keyAge, max(0, time.Since(k.Checked).Seconds()), k.Auth)
		}
		failing := 0.0
		if k.Problem != "" {
			failing = 1
		}
		gauge(out, keyFailing, failing, k.Auth)
	}
}
