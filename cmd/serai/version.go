package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCommand is `serai version`.
type versionCommand struct{}

// Run prints the version, the commit and the Go version.
func (versionCommand) Run(env *environment) error {
	fmt.Fprintf(env.stdout, "serai %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version is that of the module, with the commit where it is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += "-" + s.Value[:12]
			}
			if s.Key == "vcs.modified" && s.Value == "true" {
				v += "+dirty"
			}
		}
	}
	return v
}
