package nomad_test

import (
	"errors"
	"slices"
	"testing"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// TestCheckAccess compares the suggested policy literally, because an operator pastes
// it.
func TestCheckAccess(t *testing.T) {
	readJob := []string{"read-job"}
	every := map[string][]string{"serai/*": {"read", "list", "write", "destroy"}}
	for name, tc := range map[string]struct {
		rules  []nomadsim.Rule
		access nomad.Access
		// The missing permissions, and the policy and command; empty when nothing is missing.
		list, watch, variables, read []string
		policy, command              string
	}{
		"all granted": {
			rules:  []nomadsim.Rule{{Namespace: "*", Capabilities: readJob, Variables: every}},
			access: nomad.Access{Namespaces: []string{"*"}, Variables: "serai"},
		},
		"nothing asked": {},
		"nothing granted": {
			access: nomad.Access{Namespaces: []string{"*"}},
			list:   []string{"*"},
			policy: `namespace "*" {
  capabilities = ["read-job"]
}
`, command: "nomad acl policy apply -namespace default -job serai serai serai.policy.hcl",
		},
		"some namespaces": {
			rules:  []nomadsim.Rule{{Namespace: "shop", Capabilities: readJob}},
			access: nomad.Access{Namespaces: []string{"shop", "cart"}, Job: "edge", JobNamespace: "infra"},
			list:   []string{"cart"},
			policy: `namespace "shop" {
  capabilities = ["read-job"]
}
namespace "cart" {
  capabilities = ["read-job"]
}
`, command: "nomad acl policy apply -namespace infra -job edge edge serai.policy.hcl",
		},
		"a block that shadows the glob": {
			rules:  []nomadsim.Rule{{Namespace: "*", Capabilities: readJob}, {Namespace: "shop", Capabilities: []string{"list-jobs"}}},
			access: nomad.Access{Namespaces: []string{"*"}},
			watch:  []string{"shop"},
			policy: `namespace "*" {
  capabilities = ["read-job"]
}
namespace "shop" {
  capabilities = ["read-job"]
}
`, command: "nomad acl policy apply -namespace default -job serai serai serai.policy.hcl",
		},
		"variables": {
			rules: []nomadsim.Rule{{Namespace: "*", Capabilities: readJob}, {Namespace: "infra", Capabilities: readJob,
				Variables: map[string][]string{"serai/*": {"read", "list"}}}},
			access:    nomad.Access{Namespaces: []string{"*"}, Variables: "serai", VariablesNamespace: "infra", JobNamespace: "infra"},
			variables: []string{"write", "destroy"},
			policy: `namespace "*" {
  capabilities = ["read-job"]
}
namespace "infra" {
  capabilities = ["read-job"]
  variables {
    path "serai/*" {
      capabilities = ["read", "list", "write", "destroy"]
    }
  }
}
`, command: "nomad acl policy apply -namespace infra -job serai serai serai.policy.hcl",
		},
		"a variable that is only read": {
			rules:  []nomadsim.Rule{{Namespace: "*", Capabilities: readJob, Variables: every}},
			access: nomad.Access{Namespaces: []string{"*"}, Variables: "serai", Read: []string{"serai/auth/x", "team/users"}},
			read:   []string{"team/users"},
			policy: `namespace "*" {
  capabilities = ["read-job"]
}
namespace "default" {
  capabilities = ["read-job"]
  variables {
    path "serai/*" {
      capabilities = ["read", "list", "write", "destroy"]
    }
    path "team/users" {
      capabilities = ["read"]
    }
  }
}
`, command: "nomad acl policy apply -namespace default -job serai serai serai.policy.hcl",
		},
		"a variable that may be read": {
			rules:  []nomadsim.Rule{{Namespace: "*", Capabilities: readJob, Variables: map[string][]string{"serai/auth/x": {"read"}}}},
			access: nomad.Access{Namespaces: []string{"*"}, Read: []string{"serai/auth/x"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := nomadsim.New(nomadsim.Options{ACL: true})
			for _, ns := range []string{"shop", "cart", "infra"} {
				sim.CreateNamespace(ns)
			}
			sim.PutToken(nomadsim.Token{Secret: secret, Rules: tc.rules})
			before := sim.Index()
			err := connect(t, nomad.Options{Address: simulate(t, sim)}).CheckAccess(testContext(t), tc.access)
			if sim.Index() != before {
				t.Error("the check changed something")
			}
			if tc.policy == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var missing *nomad.AccessError
			if !errors.As(err, &missing) || !errors.Is(err, nomad.ErrForbidden) {
				t.Fatalf("%v; want an AccessError that is ErrForbidden", err)
			}
			if !slices.Equal(missing.ListServices, tc.list) || !slices.Equal(missing.WatchServices, tc.watch) || !slices.Equal(missing.Variables, tc.variables) || !slices.Equal(missing.Read, tc.read) {
				t.Errorf("missing %q, %q, %q, %q; want %q, %q, %q, %q", missing.ListServices, missing.WatchServices, missing.Variables, missing.Read, tc.list, tc.watch, tc.variables, tc.read)
			}
			if got := missing.Policy(); got != tc.policy {
				t.Errorf("policy:\n%s\nwant:\n%s", got, tc.policy)
			}
			if got := missing.Command(); got != tc.command {
				t.Errorf("command: %s\nwant: %s", got, tc.command)
			}
		})
	}
}

// TestCheckAccessTrouble: an error that says nothing about permissions is not a missing
// permission.
func TestCheckAccessTrouble(t *testing.T) {
	access := nomad.Access{Namespaces: []string{"*"}, Variables: "serai"}
	sim := nomadsim.New(nomadsim.Options{})
	c := connect(t, nomad.Options{Address: simulate(t, sim)})
	for _, kind := range []string{nomad.KindServices, nomad.KindStream, nomad.KindVariable} {
		for _, tc := range []struct {
			fault nomadsim.Fault
			kind  error
		}{
			{nomadsim.NoLeader(), nomad.ErrUnavailable},
			{nomadsim.WebPage(), nomad.ErrBadAnswer},
			{nomadsim.Status(403, "ACL token expired"), nomad.ErrTokenRefused},
			{nomadsim.Redirect("/"), nomad.ErrBadAnswer},
		} {
			remove := sim.Inject(kind, tc.fault)
			check(t, c.CheckAccess(testContext(t), access), tc.kind)
			remove()
		}
	}
	if err := c.CheckAccess(testContext(t), access); err != nil {
		t.Error(err)
	}
}
