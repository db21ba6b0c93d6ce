package boundedhttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"serai/internal/boundedhttp"
)

// TestBounds: what is within the bounds arrives whole; the rest is an error.
func TestBounds(t *testing.T) {
	const most = 1000
	mux := http.NewServeMux()
	answer := func(path string, size int) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", size)) })
	}
	answer("/empty", 0)
	answer("/full", most)
	answer("/more", most+1)
	answer("/much", 1<<20)
	mux.HandleFunc("/head", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 128<<10)) })
	mux.Handle("/once", http.RedirectHandler("/full", http.StatusFound))
	mux.Handle("/twice", http.RedirectHandler("/once", http.StatusFound))
	mux.Handle("/thrice", http.RedirectHandler("/twice", http.StatusFound))
	mux.Handle("/away", http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, c := range []struct {
		path      string
		redirects int
		status    int
		size      int
		err       string
	}{
		{"/empty", 0, 200, 0, ""},
		{"/full", 0, 200, most, ""},
		{"/more", 0, 200, most, "more than 1000 bytes"},
		{"/much", 0, 200, most, "more than 1000 bytes"},
		{"/head", 0, 0, 0, "server response headers exceeded"},
		{"/once", 0, 302, -1, ""},
		{"/away", 0, 302, -1, ""},
		{"/once", 2, 200, most, ""},
		{"/twice", 2, 200, most, ""},
		{"/thrice", 2, 0, 0, "or too often"},
		{"/away", 2, 0, 0, "redirects to another server"},
	} {
		client := boundedhttp.NewClient(&http.Transport{}, boundedhttp.Bounds{Body: most, Redirects: c.redirects})
		status, size, err := get(client, server.URL+c.path)
		if status != c.status || c.size >= 0 && size != c.size || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s with %d redirects: status %d, %d bytes, %v; want %+v", c.path, c.redirects, status, size, err, c)
		}
		client.CloseIdleConnections()
	}
}

func get(client *http.Client, url string) (status, size int, err error) {
	res, err := client.Get(url)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return res.StatusCode, len(all), err
}
