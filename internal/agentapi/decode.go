package agentapi

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Decode reads a JSON answer into out. A null is refused: it never means "none".
func Decode(body []byte, out any) error {
	switch t := bytes.TrimSpace(body); {
	case len(t) == 0:
		return errors.New("the answer is empty")
	case bytes.Equal(t, []byte("null")):
		return errors.New("the answer is null")
	}
	return json.Unmarshal(body, out)
}

// IsPage reports whether an answer is a web page rather than JSON.
func IsPage(body []byte) bool {
	t := bytes.TrimSpace(body)
	return len(t) > 0 && t[0] == '<'
}
