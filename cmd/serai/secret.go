package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// readSecret reads a file with a secret, nil when none is named.
func readSecret(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(secret)) < 16 {
		err = errors.New("a secret wants at least 16 bytes")
	}
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flag, path, err)
	}
	return bytes.TrimSpace(secret), nil
}
