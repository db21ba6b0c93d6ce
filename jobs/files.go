// Package jobs holds job files that an operator or a team copies, and what of
// them our own programs run as it is.
package jobs

import _ "embed"

// SeraiRawExec is serai's own system job with the raw_exec driver.
//
//go:embed serai.raw_exec.nomad.hcl
var SeraiRawExec string

// SeraiPolicy is what that job may do, with ACLs on.
//
//go:embed serai.policy.hcl
var SeraiPolicy string
