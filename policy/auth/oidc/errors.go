package oidc

import "errors"

// Why the provider is not asked.
var (
	errBusy       = errors.New("too many requests wait for the provider")
	errClientBusy = errors.New("too many requests of this client wait for the provider")
	errTooOften   = errors.New("this client has come back from the provider too often")
	errNoKeys     = errors.New("the key that seals sessions is not known")
	errGone       = errors.New("the client has left")
)
