//go:build !linux

package pace

func yieldProcessor() {}
