package consulsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"time"
)

// ServiceDefinition is what PUT /v1/agent/service/register takes.
type ServiceDefinition struct {
	Kind              string
	ID                string
	Name              string
	Tags              Tags
	TaggedAddresses   map[string]ServiceAddress
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string
	Weights           *Weights
	EnableTagOverride bool
	Proxy             *Proxy
	Connect           *struct {
		Native         bool
		SidecarService *ServiceDefinition
	}
	Check  *CheckDefinition
	Checks []*CheckDefinition
	Token  string
}

// CheckDefinition is a check of a ServiceDefinition, and what PUT
// /v1/agent/check/register takes.
type CheckDefinition struct {
	CheckID       string
	ID            string // the same, in the latter
	Name          string
	Notes         string
	Status        string
	ServiceID     string // only in the latter
	TTL           Duration
	HTTP          string
	TCP           string
	UDP           string
	GRPC          string
	AliasService  string
	AliasNode     string
	Args          []string
	Interval      Duration
	Timeout       Duration
	TLSSkipVerify bool

	DeregisterCriticalServiceAfter Duration

	// What is read and ignored.
	Token                  string
	Method, Body           string
	Header                 map[string][]string
	DisableRedirects       bool
	GRPCUseTLS             bool
	TLSServerName          string
	SuccessBeforePassing   int
	FailuresBeforeWarning  int
	FailuresBeforeCritical int
	OutputMaxSize          int
}

// Duration is a number of nanoseconds or a text such as "10s".
type Duration time.Duration

// UnmarshalJSON reads both.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		return json.Unmarshal(b, (*int64)(d))
	}
	if text == "" {
		return nil
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}

// String is empty for zero, as checks have it.
func (d Duration) String() string {
	if d == 0 {
		return ""
	}
	return time.Duration(d).String()
}

// kind is the type of a check, by what it asks.
func (c *CheckDefinition) kind() string {
	switch {
	case c.GRPC != "":
		return "grpc"
	case c.HTTP != "":
		return "http"
	case c.TTL > 0:
		return "ttl"
	case c.TCP != "":
		return "tcp"
	case c.UDP != "":
		return "udp"
	case c.AliasService != "" || c.AliasNode != "":
		return "alias"
	case len(c.Args) > 0:
		return "script"
	}
	return ""
}

// validate returns what Consul says of a definition that cannot be.
func (c *CheckDefinition) validate() error {
	repeated := len(c.Args) > 0 || c.HTTP != "" || c.TCP != "" || c.UDP != "" || c.GRPC != ""
	alias := c.AliasService != "" || c.AliasNode != ""
	switch {
	case c.Interval > 0 && c.TTL > 0:
		return refusal("Interval and TTL cannot both be specified")
	case repeated && c.Interval <= 0:
		return refusal("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	case repeated && alias:
		return refusal("Interval cannot be set for Alias checks")
	case alias && c.TTL > 0:
		return refusal("TTL must be not be set for Alias checks")
	case !repeated && !alias && c.TTL <= 0:
		return refusal("TTL must be > 0 for TTL checks")
	}
	return nil
}

func validWeights(w *Weights) error {
	switch {
	case w == nil:
		return nil
	case w.Passing < 1:
		return refusal("Passing must be greater than 0")
	case w.Warning < 0:
		return refusal("Warning must be greater or equal than 0")
	case w.Passing > 65535 || w.Warning > 65535:
		return refusal("DNS Weight must be between 0 and 65535")
	}
	return nil
}

var metaKey = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// validMeta refuses keys that Consul does not take: a dot is no part of one.
func validMeta(meta map[string]string) error {
	for k, v := range meta {
		if !metaKey.MatchString(k) {
			return refusal(fmt.Sprintf("Couldn't load metadata pair ('%s', '%s'): Key contains invalid characters", k, v))
		}
	}
	return nil
}

func validStatus(status string) bool {
	return status == "" || status == Passing || status == Warning || status == Critical
}

// service is the definition as the agent keeps it.
func (d *ServiceDefinition) service() Service {
	sv := Service{
		Kind: d.Kind, ID: d.ID, Service: d.Name, Tags: d.Tags, Address: d.Address, TaggedAddresses: d.TaggedAddresses, Meta: d.Meta,
		Port: d.Port, SocketPath: d.SocketPath, Weights: d.Weights, EnableTagOverride: d.EnableTagOverride,
	}
	if d.Proxy != nil {
		sv.Proxy = *d.Proxy
	}
	if d.Connect != nil {
		sv.Connect.Native = d.Connect.Native
	}
	if sv.ID == "" {
		sv.ID = sv.Service
	}
	complete(&sv)
	return sv
}

// complete gives a service what every one has.
func complete(sv *Service) {
	if sv.Weights == nil || validWeights(sv.Weights) != nil {
		sv.Weights = &Weights{1, 1}
	}
	if sv.Proxy.MeshGateway == nil {
		sv.Proxy.MeshGateway = map[string]any{}
	}
	if sv.Proxy.Expose == nil {
		sv.Proxy.Expose = map[string]any{}
	}
	if sv.Kind == "connect-proxy" && sv.Proxy.LocalServiceAddress == "" && sv.Proxy.LocalServicePort != 0 {
		sv.Proxy.LocalServiceAddress = "127.0.0.1"
	}
}

// checks are those of a service. An empty one is none.
func (d *ServiceDefinition) checks() []*CheckDefinition {
	all := d.Checks
	if d.Check != nil && !reflect.DeepEqual(*d.Check, CheckDefinition{}) {
		all = append([]*CheckDefinition{d.Check}, all...)
	}
	return all
}

// check is the definition as the agent keeps it.
func (c *CheckDefinition) check(node string) Check {
	ch := Check{
		Node: node, CheckID: c.CheckID, Name: c.Name, Status: Critical, Notes: c.Notes, ServiceID: c.ServiceID,
		Type: c.kind(), Interval: c.Interval.String(), Timeout: c.Timeout.String(), Definition: json.RawMessage("{}"),
	}
	if c.Status != "" {
		ch.Status = c.Status
	}
	return ch
}

// decode reads a request's body, or answers 400 and returns false.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "Request decode failed: %v", err)
		return false
	}
	return true
}
