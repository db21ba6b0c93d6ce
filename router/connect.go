package router

import (
	"serai/discovery"
	"serai/upstream"
)

// connectKey is the key that has an instance reached in Consul's mesh.
func connectKey() key {
	return key{
		Key: Key{Name: "connect", Value: "on, off", Default: "off; on for what is reached in no other way", Example: "on",
			Meaning: "`on`: the instance is reached through its sidecar in Consul's mesh, with TLS in which both sides prove who they are, and never without: [docs/consul.md](consul.md#connect). What `scheme` says is spoken within. The default is `on` for an instance that speaks the mesh's TLS itself, and for a sidecar whose service is not registered with tags of ours"},
		parse: parseConnect,
		also:  []string{"consul-connect", "mesh", "sidecar"},
		member: func(_ *upstream.Member, t *upstream.Target) string {
			if t.Peer == (upstream.Peer{}) {
				return ""
			}
			return "on"
		},
	}
}

func parseConnect(d *draft, value string) (f *flaw) {
	d.Instance.Connect, f = wordList[Connect]{{"on", ConnectOn}, {"off", ConnectOff}}.parse(value)
	return f
}

// meshed reports whether a definition's instance is reached in Consul's mesh.
func (o *InstanceOptions) meshed(instance *discovery.Instance) bool {
	return o.Connect == ConnectOn || o.Connect == ConnectAuto && instance.Sidecar != nil && instance.Sidecar.Only
}

// reach is where an instance is reached: itself, or in Consul's mesh.
type reach struct{ itself, inMesh way }

// way is an address to connect to, or why there is none. It is zero where no definition
// needs it.
type way struct {
	address string
	flaw    *flaw
}

// reach returns where the definitions of an instance reach it.
func (c *compilation) reach(instance *discovery.Instance, all []Definition) (at reach) {
	for i := range all {
		switch d := &all[i]; {
		case d.Options.Closed: // which reaches nothing
		case d.Instance.meshed(instance) && at.inMesh == (way{}):
			at.inMesh.address, at.inMesh.flaw = c.sidecarAddress(instance)
		case !d.Instance.meshed(instance) && at.itself == (way{}):
			at.itself.address, at.itself.flaw = c.address(instance)
		}
	}
	return at
}

// of is where a definition reaches its instance.
func (at *reach) of(d *Definition, instance *discovery.Instance) *way {
	if d.Instance.meshed(instance) {
		return &at.inMesh
	}
	return &at.itself
}

// sidecarAddress returns the address to connect to in Consul's mesh, or why there is none.
func (c *compilation) sidecarAddress(instance *discovery.Instance) (string, *flaw) {
	side := instance.Sidecar
	switch {
	case side == nil && instance.Namespace != discovery.ConsulNamespace:
		return "", &flaw{"connect=on: only services that are registered in Consul have a sidecar, and this one is not", `provider = "consul" and connect { sidecar_service {} } in the service block, and --consul at serai; or no connect`}
	case side == nil:
		return "", &flaw{"connect=on: no sidecar of the instance is registered in Consul", "connect { sidecar_service {} } in the service block; or no connect"}
	}
	reached := *instance
	reached.Address, reached.Port = side.Address, side.Port
	return c.address(&reached)
}

// peerOf is whom serai expects at an instance in Consul's mesh.
func peerOf(instance *discovery.Instance) upstream.Peer {
	return upstream.Peer{Service: instance.Sidecar.Service, Datacenter: instance.Sidecar.Datacenter}
}

// unfit says why an instance takes no requests for now, empty when it may.
func (o *InstanceOptions) unfit(instance *discovery.Instance) string {
	switch {
	case instance.Unfit != "":
		return instance.Unfit
	case o.meshed(instance) && instance.Sidecar.Unfit != "":
		return "behind a sidecar that is " + instance.Sidecar.Unfit
	}
	return ""
}
