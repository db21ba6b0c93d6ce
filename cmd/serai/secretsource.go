package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"serai/admin"
	"serai/nomad"
	"serai/secret"
)

// A secret of an auth block is NAME_file = FILE, or NAME_variable = PATH: then it is the item
// NAME of that Nomad variable, in the namespace that serai runs in. A file is part of the
// config file: all is read again when it changes, and an error in it is one of the config
// file. A variable is watched, and what is wrong with it is told while serai runs: see
// package secret.

// maxVariables bounds the variables that a config file names where no flag does: watching each
// keeps one of the connections of which an agent grants a client a hundred.
const maxVariables = 32

// secretSettings are the attributes with which a block has a secret.
func secretSettings(name string) []string { return []string{name + "_file", name + "_variable"} }

// readSecret has the secret used that a block of an auth has: a file's content now, a
// variable's as soon as it is known, and again when it changes. Until then whoever needs it
// must refuse all. It returns the files that it has read.
func (n *namedBlocks) readSecret(auth string, s *blockSettings, name string, use secret.Use) (files []string) {
	of := secretSettings(name)
	file, path := s.text(of[0]), s.text(of[1])
	switch {
	case file != "" && path != "":
		s.wrong(of[1], "and "+of[0]+" are both set: set only one")
	case file != "":
		text, err := n.files.whole(file, n.files.most)
		if err == nil {
			if _, err = use(text); err != nil {
				err = fmt.Errorf("%s: %w", filepath.Clean(file), err)
			}
		}
		if err != nil {
			s.wrong(of[0], "cannot be used: "+err.Error())
		}
		return []string{file}
	case path == "":
		s.required(of[0] + " or " + of[1])
	default:
		if err := nomad.CheckVariablePath(path); err != nil {
			s.wrong(of[1], "is not the path of a variable: "+err.Error())
			return nil
		}
		n.reading = append(n.reading, n.secrets.Secret(path, name, fmt.Sprintf("auth %q", auth), use))
	}
	return nil
}

// secretsOf are the secrets that all auths need from variables, in the order of the file.
func (n *namedBlocks) secretsOf() (all []*secret.Secret) {
	for _, a := range n.auths {
		all = append(all, n.read[a.Name].secrets...)
	}
	return all
}

// checkVariables reports variables that are too many.
func (n *namedBlocks) checkVariables(at hcl.Range) hcl.Diagnostics {
	paths, most := n.variables(), cmp.Or(n.limits.Variables, maxVariables)
	if len(paths) <= most {
		return nil
	}
	return hcl.Diagnostics{problem(at, "Too many variables", fmt.Sprintf("auths name %d variables, and at most %d can be watched: put several secrets into one, as its items", len(paths), most))}
}

// variables are the paths of the variables that auths name.
func (n *namedBlocks) variables() (paths []string) {
	for _, one := range n.secretsOf() {
		paths = append(paths, one.Path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// secretStatus tells of all secrets.
func secretStatus(store *secret.Store) (all []admin.SecretStatus) {
	for _, s := range store.Status() {
		all = append(all, admin.SecretStatus{Variable: s.Path, Item: s.Item, For: s.Owner, Problem: s.Problem, ProblemSince: s.Since, Used: s.Used})
	}
	return all
}

// followSecrets watches the variables of a store until ctx ends.
func (s *system) followSecrets(ctx context.Context, of *secret.Store) error {
	return of.Run(ctx, secret.Options{
		Client: s.client, Namespace: s.env.getenv("NOMAD_NAMESPACE"), Logger: s.logger,
		Refused: func(path string, err error) {
			access := s.access(true)                 // the whole policy, of which this is one right
			if !slices.Contains(access.Read, path) { // a file that was read later names it
				access.Read = append(access.Read, path)
			}
			s.tellPolicy("nomad does not let serai read a secret", nomad.NewReadError(access, path, err))
		},
	})
}
