package main

import (
	"cmp"
	"errors"
	"fmt"

	"serai/discovery"
	"serai/router"
)

// quotaFlags bound what a table holds.
type quotaFlags struct {
	MaxClaimsService        int `default:"1000" help:"Claims (pairs of host and path) of one service; what came later is refused." group:"Quotas"`
	MaxClaimsNamespace      int `default:"10000" help:"Claims (pairs of host and path) of one namespace." group:"Quotas"`
	MaxClaimsTotal          int `default:"100000" help:"Claims (pairs of host and path) of all namespaces together; their memory is bounded by --max-table-memory-total." group:"Quotas"`
	MaxConditionsService    int `default:"500" help:"Conditions (method, header, query) on the claims of one service." group:"Quotas"`
	MaxConditionsNamespace  int `default:"5000" help:"Conditions (method, header, query) of one namespace: as many may be compared with each request for one of its hosts." group:"Quotas"`
	MaxConditionsTotal      int `default:"50000" help:"Conditions (method, header, query) of all namespaces together." group:"Quotas"`
	MaxTableMemoryService   int `default:"0" placeholder:"BYTES" help:"Estimated bytes that the claims, instances and rejections of one service take in the routing table; 0 means a quarter of the total." group:"Quotas"`
	MaxTableMemoryNamespace int `default:"0" placeholder:"BYTES" help:"The same for one namespace; 0 means half of --max-table-memory-total." group:"Quotas"`
	MaxTableMemoryTotal     int `default:"0" placeholder:"BYTES" help:"The same for all namespaces together; 0 means a fifth of the memory (--memory), and no limit where that has none." group:"Quotas"`
	MaxLingeringService     int `default:"1000" help:"Claims of one service that are kept for its next instance (--linger); those beyond end at once." group:"Quotas"`
	MaxLingeringNamespace   int `default:"5000" help:"Claims of one namespace that are kept for the next instance (--linger)." group:"Quotas"`
	MaxLingeringTotal       int `default:"25000" help:"Claims of all namespaces together that are kept for the next instance (--linger)." group:"Quotas"`

	MaxRegistrationsNamespace     int `default:"50000" help:"Service registrations of one namespace that are kept, whatever their tags say; beyond, the newest and the largest are refused." group:"Quotas"`
	MaxRegistrationsTotal         int `default:"200000" help:"Service registrations of all namespaces together that are kept." group:"Quotas"`
	MaxRegistrationBytesNamespace int `default:"0" placeholder:"BYTES" help:"Bytes of the service registrations of one namespace, with all their tags; 0 means half of the total." group:"Quotas"`
	MaxRegistrationBytesTotal     int `default:"0" placeholder:"BYTES" help:"Bytes of the service registrations of all namespaces together; 0 means an eighth of the memory (--memory), and no limit where that has none." group:"Quotas"`
}

// tableShare is the part of all memory that the table may take by default.
const tableShare = 5

// limits are the flags as the router takes them. Given is what the process may use, in
// bytes; 0 when nobody sets a limit.
func (q *quotaFlags) limits(given int64) router.Quotas {
	return router.Quotas{
		Claims:     router.Limits{Service: q.MaxClaimsService, Namespace: q.MaxClaimsNamespace, Total: q.MaxClaimsTotal},
		Conditions: router.Limits{Service: q.MaxConditionsService, Namespace: q.MaxConditionsNamespace, Total: q.MaxConditionsTotal},
		Memory:     router.Limits{Service: q.MaxTableMemoryService, Namespace: q.MaxTableMemoryNamespace, Total: cmp.Or(q.MaxTableMemoryTotal, int(given/tableShare))},
		Lingering:  router.Limits{Service: q.MaxLingeringService, Namespace: q.MaxLingeringNamespace, Total: q.MaxLingeringTotal},
	}
}

// registrationShare is the part of all memory that registrations may take by default.
const registrationShare = 8

// bounds are the flags as discovery takes them. Given is what the process may use, in
// bytes; 0 when nobody sets a limit.
func (q *quotaFlags) bounds(given int64) discovery.Bounds {
	total := cmp.Or(q.MaxRegistrationBytesTotal, int(given/registrationShare))
	return discovery.Bounds{
		Registrations: discovery.Bound{Namespace: q.MaxRegistrationsNamespace, Total: q.MaxRegistrationsTotal},
		Bytes:         discovery.Bound{Namespace: cmp.Or(q.MaxRegistrationBytesNamespace, total/2), Total: total},
	}
}

// validate reports quotas that nothing fits in.
func (q *quotaFlags) validate() error {
	var errs []error
	all := q.limits(0)
	for _, l := range []struct {
		name string
		router.Limits
		least int
	}{{"claims", all.Claims, 1}, {"conditions", all.Conditions, 1}, {"table-memory", all.Memory, 0}, {"lingering", all.Lingering, 1},
		{"registrations", router.Limits{Service: 1, Namespace: q.MaxRegistrationsNamespace, Total: q.MaxRegistrationsTotal}, 1},
		{"registration-bytes", router.Limits{Service: 1, Namespace: q.MaxRegistrationBytesNamespace, Total: q.MaxRegistrationBytesTotal}, 0}} {
		for _, f := range []struct {
			of    string
			value int
		}{{"service", l.Service}, {"namespace", l.Namespace}, {"total", l.Total}} {
			if f.value < l.least {
				errs = append(errs, fmt.Errorf("--max-%s-%s=%d is not at least %d", l.name, f.of, f.value, l.least))
			}
		}
	}
	return errors.Join(errs...)
}

// reservedPaths are those that no tenant may claim: where a CA validates a host (RFC
// 8555 section 8.3), and where balancers ask for serai itself.
func (c *serveCommand) reservedPaths() []string {
	paths := []string{"/.well-known/acme-challenge"}
	if c.ReadyPath != "" && c.ReadyPath != "/" {
		paths = append(paths, c.ReadyPath)
	}
	return paths
}
