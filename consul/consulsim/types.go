package consulsim

import "encoding/json"

// Node is a node of the catalog, as answers have it. Values in the catalog are never
// modified; a change replaces them. So it is for services and checks.
type Node struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64
	ModifyIndex     uint64
}

// Service is one instance of a service on a node.
type Service struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              Tags
	Address           string
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	Meta              map[string]string
	Port              int    `json:",omitempty"`
	SocketPath        string `json:",omitempty"`
	Weights           *Weights
	EnableTagOverride bool
	Proxy             Proxy
	Connect           Connect
	PeerName          string
	CreateIndex       uint64
	ModifyIndex       uint64
}

// Tags are those of a service. Answers have a list even where there is none, but the
// catalog keeps the two apart: a registration with an empty list changes a service that
// was registered without one.
type Tags []string

// MarshalJSON writes nil as an empty list.
func (t Tags) MarshalJSON() ([]byte, error) {
	if t == nil {
		t = Tags{}
	}
	return json.Marshal([]string(t))
}

// ServiceAddress is a tagged address of a service.
type ServiceAddress struct {
	Address string
	Port    int
}

// Weights are those of an instance in DNS, by its health.
type Weights struct {
	Passing int
	Warning int
}

// Proxy is what a sidecar is told. The simulator keeps it and acts on none of it.
type Proxy struct {
	DestinationServiceName string `json:",omitempty"`
	DestinationServiceID   string `json:",omitempty"`
	LocalServiceAddress    string `json:",omitempty"`
	LocalServicePort       int    `json:",omitempty"`
	Mode                   string
	Config                 map[string]any   `json:",omitempty" bexpr:"-"`
	Upstreams              []map[string]any `json:",omitempty" bexpr:"-"`
	MeshGateway            map[string]any   `bexpr:"-"`
	Expose                 map[string]any   `bexpr:"-"`
}

// Connect says how a service takes part in the mesh.
type Connect struct {
	Native bool `json:",omitempty"`
}

// Check is a check of a service, or of a node when ServiceID is empty.
type Check struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags Tags
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	Definition  json.RawMessage `bexpr:"-"`
	CreateIndex uint64
	ModifyIndex uint64
}

// The states of a check.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
)

// Registration is what PUT /v1/catalog/register takes: a node with, possibly, a service
// and checks.
type Registration struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	Service         *Service
	Check           *Check
	Checks          []*Check
	SkipNodeUpdate  bool
}

// Deregistration is what PUT /v1/catalog/deregister takes: a node with all it has, or
// one service or check of it.
type Deregistration struct {
	Node      string
	ServiceID string
	CheckID   string
}
