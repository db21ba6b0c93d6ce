package consul

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestEachOn: what is registered on a node, and that nothing else is taken for it.
func TestEachOn(t *testing.T) {
	for name, c := range map[string]struct {
		body, want string
		bad        bool
	}{
		"two":                        {`{"Node": {"Node": "n1"}, "Services": {"a": {"ID": "a", "Tags": ["x"], "Service": "web"}, "b/c": {"service": "api", "Meta": {"Service": "x"}}}}`, "a=web b/c=api", false},
		"a node that is not there":   {`null`, "", false},
		"none":                       {`{"Node": {}, "Services": {}}`, "", false},
		"no list":                    {`{"Node": {}, "Services": null}`, "", false},
		"without a name":             {`{"Services": {"a": {"ID": "a"}, "": {"Service": "web"}}}`, "", false},
		"a service of nothing":       {`{"Services": {"a": null}}`, "", true},
		"a name of another type":     {`{"Services": {"a": {"Service": 1}}}`, "", true},
		"a list":                     {`[]`, "", true},
		"services of another type":   {`{"Services": ["a"]}`, "", true},
		"cut":                        {`{"Services": {"a": {"Service": "web"}`, "", true},
		"more behind":                {`{"Services": {}} {}`, "", true},
		"a page":                     {`<html>`, "", true},
		"of which much is of nobody": {`{"Services": {"a": {"Meta": {"m": "` + strings.Repeat("x", 1<<21) + `"}, "Service": "web"}}}`, "a=web", false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.URL.RequestURI()
				w.Header().Set("X-Consul-Index", "7")
				io.WriteString(w, c.body)
			}))
			defer s.Close()
			var got []string
			err := newTestClient(t, Options{Address: s.URL}).EachOn(t.Context(), "n/1", Query{Consistent: true}, func(id, service string) { got = append(got, id+"="+service) })
			if c.bad && !errors.Is(err, ErrBadAnswer) || !c.bad && (err != nil || fmt.Sprint(got) != "["+c.want+"]") {
				t.Errorf("%v, %v; want %q", got, err, c.want)
			}
			if want := "/v1/catalog/node/n%2F1?consistent="; asked != want {
				t.Errorf("asked for %q, want %q", asked, want)
			}
		})
	}
	if err := newTestClient(t, Options{Address: "http://127.0.0.1:1"}).EachOn(t.Context(), "..", Query{}, nil); err == nil {
		t.Error("a node named .. is asked for")
	}
}
