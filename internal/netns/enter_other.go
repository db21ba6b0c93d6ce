//go:build !linux

package netns

import "os"

// enter fails: this system has no namespaces.
func enter(*os.File) error { return ErrUnavailable }
