package urlpath

import "testing"

// TestUnreserved: what need not be encoded is decoded, once, and nothing else.
func TestUnreserved(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "*": "*", "/": "/", "/a b": "/a b", "/%61dmin": "/admin", "/%41%5a%7E%2D%2e%5f%30": "/AZ~-._0", "/%2561": "/%2561", "/%2f%3F%23%25%20%00%3b%5c": "/%2f%3F%23%25%20%00%3b%5c",
		"/%": "/%", "/%6": "/%6", "/%6g": "/%6g", "/%g1": "/%g1", "/%%61": "/%a", "/%C3%A9": "/%C3%A9", "/%61": "/a", "%61": "a", "/a%7": "/a%7", "/%ff": "/%ff", "/x%2": "/x%2",
	} {
		if got := string(Unreserved([]byte(path))); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}
