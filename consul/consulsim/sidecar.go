package consulsim

import (
	"fmt"
	"maps"
	"time"
)

// The sidecars' ports of an agent.
const firstSidecarPort, lastSidecarPort = 21000, 21255

// sidecar is the definition of the sidecar that a service asks for, or nil.
func (s *Sim) sidecar(d *ServiceDefinition) *ServiceDefinition {
	if d.Connect == nil || d.Connect.SidecarService == nil {
		return nil
	}
	own := d.service()
	side := *d.Connect.SidecarService
	side.ID = own.ID + "-sidecar-proxy"
	side.Kind = "connect-proxy"
	if side.Name == "" {
		side.Name = own.Service + "-sidecar-proxy"
	}
	if len(side.Tags) == 0 && len(own.Tags) > 0 {
		side.Tags = own.Tags
	}
	if len(side.Meta) == 0 && len(own.Meta) > 0 {
		side.Meta = own.Meta
	}
	proxy := Proxy{}
	if side.Proxy != nil {
		proxy = *side.Proxy
	}
	proxy.DestinationServiceName, proxy.DestinationServiceID = own.Service, own.ID
	if proxy.LocalServiceAddress == "" {
		proxy.LocalServiceAddress = "127.0.0.1"
	}
	if proxy.LocalServicePort == 0 {
		proxy.LocalServicePort = own.Port
	}
	side.Proxy = &proxy
	proxy.Upstreams = completeUpstreams(proxy.Upstreams)
	if side.Port == 0 {
		side.Port = s.sidecarPort(side.ID)
	}
	if len(side.checks()) == 0 {
		side.Checks = []*CheckDefinition{
			{Name: "Connect Sidecar Listening", TCP: fmt.Sprintf("127.0.0.1:%d", side.Port), Interval: Duration(10 * time.Second)},
			{Name: "Connect Sidecar Aliasing " + own.ID, AliasService: own.ID},
		}
	}
	return &side
}

// completeUpstreams gives upstreams what every one has.
func completeUpstreams(all []map[string]any) (complete []map[string]any) {
	for _, u := range all {
		full := map[string]any{"Datacenter": "", "DestinationType": "service", "MeshGateway": map[string]any{}}
		maps.Copy(full, u)
		complete = append(complete, full)
	}
	return complete
}

// sidecarPort is the one that the sidecar has, or the first that none has.
func (s *Sim) sidecarPort(id string) int {
	used := map[int]bool{}
	for k, sv := range s.local.services {
		if k == key(id) {
			return sv.Port
		}
		used[sv.Port] = true
	}
	for port := firstSidecarPort; port < lastSidecarPort; port++ {
		if !used[port] {
			return port
		}
	}
	return lastSidecarPort
}
