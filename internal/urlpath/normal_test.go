package urlpath

import "testing"

// TestNormal: spellings of one path become one, and those of two stay two.
func TestNormal(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "/": "/", "/a.b-c_d~e": "/a.b-c_d~e", "/caf%C3%A9": "/caf\xc3\xa9", "/%63af%c3%a9": "/caf\xc3\xa9", "/my%20files": "/my files", "/%7Ebob": "/~bob", "/a%2bb%2C": "/a+b,",
		"/a%2fb": "/a%2Fb", "/a%5cb%3bc%3fd%23e%00f%25g": "/a%5Cb%3Bc%3Fd%23e%00f%25g", "/a/b;c": "/a/b;c", "/%2541": "/%2541", "/%252f": "/%252f", "/%2e%2E": "/..",
		"/%": "/%", "/%4": "/%4", "/%4g": "/%4g", "/%%41": "/%A", "%41": "A",
	} {
		got := string(AppendNormal(nil, []byte(path)))
		if got != want || len(got) != NormalLen(path) {
			t.Errorf("%q becomes %q of %d bytes, want %q", path, got, NormalLen(path), want)
		}
	}
}
