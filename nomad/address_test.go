package nomad

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]struct{ base, socket, says string }{
		"":                               {base: "http://127.0.0.1:4646"},
		"http://127.0.0.1:4646":          {base: "http://127.0.0.1:4646"},
		"https://nomad.test":             {base: "https://nomad.test"},
		"http://[::1]:4646/":             {base: "http://[::1]:4646"},
		"https://lb.test/nomad/":         {base: "https://lb.test/nomad"},
		"HTTP://a:1":                     {base: "http://a:1"},
		"unix:///run/api.sock":           {base: "http://nomad", socket: "/run/api.sock"},
		"unix:/run/api.sock":             {base: "http://nomad", socket: "/run/api.sock"},
		"unix://run/api.sock":            {base: "http://nomad", socket: "run/api.sock"},
		"127.0.0.1:4646":                 {says: "it is not a URL"},
		"localhost:4646":                 {says: "its scheme is neither"},
		"nomad.test":                     {says: "its scheme is neither"},
		"ftp://a:1":                      {says: "its scheme is neither"},
		"http://":                        {says: "the host is empty"},
		"http://:4646":                   {says: "the host is empty"},
		"http:///v1":                     {says: "the host is empty"},
		"http://a:0":                     {says: "its port is not between"},
		"http://a:70000":                 {says: "its port is not between"},
		"http://a:http":                  {says: "it is not a URL"},
		"http://a b":                     {says: "it is not a URL"},
		"http://a\n":                     {says: "it is not a URL"},
		"unix://":                        {says: "the socket's path is empty"},
		"http://a:1?namespace=x":         {says: "a query or a fragment"},
		"http://a:1#x":                   {says: "a query or a fragment"},
		"http://user:hunter2@a:1":        {says: "it carries a user name"},
		"http://user:hunter2@a:port":     {says: "it is not a URL"},
		"http://a@hunter2@b:1":           {says: "nomad address"},
		strings.Repeat("x", 100) + "://": {says: "its scheme is neither"},
	} {
		a, err := parseAddress(in)
		if want.says == "" {
			if err != nil || a.Base.String() != want.base || a.Socket != want.socket {
				t.Errorf("%q: %q, %q, %v; want %+v", in, a.Base.String(), a.Socket, err, want)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want.says) || !strings.HasSuffix(err.Error(), "want http://HOST:PORT, https://HOST:PORT or unix:///PATH") {
			t.Errorf("%q: %v; want %q and the forms there are", in, err, want.says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v shows the password", in, err)
		}
	}
}
