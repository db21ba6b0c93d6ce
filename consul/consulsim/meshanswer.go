package consulsim

import (
	"crypto/sha1"
	"net/http"
	"time"
)

// meshRoots is GET /v1/agent/connect/ca/roots.
func (s *Sim) meshRoots(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	q.stale = true // the agent has a copy of its own
	s.answerList(w, r, q, func() view {
		return view{s.mesh.changed, s.mesh.changed, func(*authorizer) (any, bool, error) { return s.mesh.rootList(), false, nil }}
	})
}

// rootList is the answer to who asks for the roots.
func (m *mesh) rootList() any {
	type root struct {
		ID, Name            string
		SerialNumber        int64
		SigningKeyID        string
		ExternalTrustDomain string
		NotBefore, NotAfter time.Time
		RootCert            string
		IntermediateCerts   []string
		Active              bool
		PrivateKeyType      string
		PrivateKeyBits      int
		CreateIndex         uint64
		ModifyIndex         uint64
	}
	var answer struct {
		ActiveRootID string
		TrustDomain  string
		Roots        []root
	}
	answer.TrustDomain = TrustDomain
	for i, a := range m.roots {
		id := sha1.Sum(a.certificate.Raw)
		one := root{
			ID: hexOf(id[:]), Name: "Consul CA Primary Cert", SerialNumber: a.certificate.SerialNumber.Int64(), SigningKeyID: hexOf(a.certificate.SubjectKeyId),
			ExternalTrustDomain: nodeID, NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter,
			RootCert: encodePEM("CERTIFICATE", a.certificate.Raw), Active: i == len(m.roots)-1, PrivateKeyType: "ec", PrivateKeyBits: 256,
			CreateIndex: a.created, ModifyIndex: a.last,
		}
		if a.crossSigned != "" {
			one.IntermediateCerts = []string{a.crossSigned}
		}
		if one.Active {
			answer.ActiveRootID = one.ID
		}
		answer.Roots = append(answer.Roots, one)
	}
	return answer
}

// meshLeaf is GET /v1/agent/connect/ca/leaf/SERVICE.
func (s *Sim) meshLeaf(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r)
	service := rest(r, "agent/connect/ca/leaf/")
	if !ok || !s.permit(w, r, "write", "service", service) {
		return
	}
	q.stale = true
	s.answerList(w, r, q, func() view {
		l := s.leafOf(service)
		return view{l.index, l.index, func(*authorizer) (any, bool, error) {
			return map[string]any{
				"SerialNumber": hexOf(l.certificate.SerialNumber.Bytes()), "CertPEM": l.pem, "PrivateKeyPEM": l.key, "Service": service,
				"ServiceURI": l.certificate.URIs[0].String(), "ValidAfter": l.certificate.NotBefore, "ValidBefore": l.certificate.NotAfter,
				"CreateIndex": l.index, "ModifyIndex": l.index,
			}, false, nil
		}}
	})
}

// intentionCheck is GET /v1/connect/intentions/check.
func (s *Sim) intentionCheck(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Query()
	source, destination := p.Get("source"), p.Get("destination")
	for _, side := range []string{"source", "destination"} {
		if p.Get(side) == "" {
			refuse(w, http.StatusInternalServerError, "required query parameter '%s' not set", side)
			return
		}
	}
	if !s.permit(w, r, "read", "service", destination) {
		return
	}
	writeJSON(w, map[string]bool{"Allowed": s.Allows(source, destination)})
}

// intentionExact is PUT and DELETE /v1/connect/intentions/exact, for intentions that look at
// the two services alone.
func (s *Sim) intentionExact(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Query()
	i := intention{p.Get("source"), p.Get("destination")}
	var body struct{ Action string }
	if r.Method == http.MethodPut && !decode(w, r, &body) {
		return
	}
	s.mu.Lock()
	if delete(s.mesh.intentions, i); r.Method == http.MethodPut {
		s.mesh.intentions[i] = body.Action == "allow"
	}
	s.mu.Unlock()
	writeJSON(w, true)
}
