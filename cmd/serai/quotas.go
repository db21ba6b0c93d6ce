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
	MaxClaimsNamespace      int `default:"10000" help:"Claims of one namespace." group:"Quotas"`
	MaxClaimsTotal          int `default:"100000" help:"Claims of all namespaces together; what they take is bounded by --max-table-memory-total." group:"Quotas"`
	MaxConditionsService    int `default:"500" help:"Conditions (method, header, query) on the claims of one service." group:"Quotas"`
	MaxConditionsNamespace  int `default:"5000" help:"Conditions of one namespace, which is how many a request for one of its hosts may be compared with." group:"Quotas"`
	MaxConditionsTotal      int `default:"50000" help:"Conditions of all namespaces together." group:"Quotas"`
	MaxTableMemoryService   int `default:"0" placeholder:"BYTES" help:"Bytes of the table that the claims, instances and refusals of one service take, as far as they are estimated; 0 means a quarter of the total." group:"Quotas"`
	MaxTableMemoryNamespace int `default:"0" placeholder:"BYTES" help:"Such bytes of one namespace; 0 means half of the total." group:"Quotas"`
	MaxTableMemoryTotal     int `default:"0" placeholder:"BYTES" help:"Such bytes of all namespaces together; 0 means a fifth of the memory (--memory), and no limit where that has none." group:"Quotas"`
	MaxLingeringService     int `default:"1000" help:"Claims of one service that wait for its next instance (--linger); what is beyond ends at once." group:"Quotas"`
	MaxLingeringNamespace   int `default:"5000" help:"Such claims of one namespace." group:"Quotas"`
	MaxLingeringTotal       int `default:"25000" help:"Such claims of all namespaces together." group:"Quotas"`

	MaxRegistrationsNamespace     int `default:"50000" help:"Registrations of one namespace that are kept, whatever their tags make; of what is beyond, the newest is refused, and what is too large." group:"Quotas"`
	MaxRegistrationsTotal         int `default:"200000" help:"Those of all namespaces together." group:"Quotas"`
	MaxRegistrationBytesNamespace int `default:"0" placeholder:"BYTES" help:"Bytes that the registrations of one namespace take, with all their tags; 0 means half of the total." group:"Quotas"`
	MaxRegistrationBytesTotal     int `default:"0" placeholder:"BYTES" help:"Such bytes of all namespaces together; 0 means an eighth of the memory (--memory), and no limit where that has none." group:"Quotas"`
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
