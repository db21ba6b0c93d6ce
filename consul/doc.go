// Package consul answers: how do we talk to Consul?
//
// Requests and answers are our own, as those to Nomad are: Consul's client has no limits,
// and does not tell when a list lacks what the token may not see. All that is returned is
// plain data.
package consul
