// Package agentapi answers: what do the clients of Nomad's and of Consul's agents have in
// common? Where an agent is, which token is sent, and what of its answers may be shown.
package agentapi
