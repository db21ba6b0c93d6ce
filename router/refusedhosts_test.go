package router_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// TestHostsOfWhatIsRefused: an explanation for a host tells also of an instance that is refused
// as a whole although its tags name the host, and of a tag that only looks like one of ours.
func TestHostsOfWhatIsRefused(t *testing.T) {
	many := []string{"ingress.host=a.example.org"}
	for i := range 600 {
		many = append(many, fmt.Sprintf("ingress.r%d.path=/", i%8))
	}
	host := []string{"ingress.host=a.example.org", "ingress.api.host=*.example.org,c.example.org"}
	for name, c := range map[string]struct {
		address string
		port    int
		tags    []string
		tells   bool
	}{
		"a name for an address":              {"app.internal", 80, host, true},
		"a metadata service":                 {"169.254.169.254", 80, host, true},
		"no port":                            {"127.0.0.1", 0, host, true},
		"enable cannot be read":              {"127.0.0.1", 80, append([]string{"ingress.enable=perhaps"}, host...), true},
		"too many tags":                      {"127.0.0.1", 80, many, true},
		"a misspelled prefix":                {"127.0.0.1", 80, []string{"ingres.host=a.example.org"}, true},
		"the prefix in upper case":           {"127.0.0.1", 80, []string{"Ingress.Host=b.example.org, A.example.org"}, true},
		"a wildcard":                         {"127.0.0.1", 0, []string{"ingress.host=*.example.org"}, true},
		"another host":                       {"127.0.0.1", 0, []string{"ingress.host=b.example.org"}, false},
		"another class":                      {"127.0.0.1", 0, []string{"ingress.host=a.example.org", "ingress.class=internal"}, false},
		"a misspelled prefix of another key": {"127.0.0.1", 80, []string{"ingres.path=/a.example.org"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			key := discovery.Key{Namespace: "shop", Name: "app"}
			routes := router.NewRouter()
			b, err := router.NewBuilder(routes, router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{})})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			b.Update(&discovery.Snapshot{Index: 1, Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{
				{ID: "1", Namespace: "shop", Service: "app", Job: "app", Alloc: "a1", Address: c.address, Port: c.port, Tags: c.tags, Created: 1, Modified: 1},
				{ID: "2", Namespace: "shop", Service: "app", Job: "app", Alloc: "a2", Address: c.address, Port: c.port, Tags: slices.Clone(c.tags), Created: 2, Modified: 2},
			}}}})
			table := routes.Current()
			if len(table.Rejections()) == 0 && c.tells {
				t.Fatal("nothing is refused")
			}
			x := table.Explain(&router.Query{Host: []byte("a.example.org"), Path: []byte("/"), Method: []byte("GET")})
			if told := len(x.Refused) > 0; told != c.tells {
				t.Errorf("the explanation has the rejections %v; all are %v", x.Refused, table.Rejections())
			}
			for _, r := range x.Refused {
				if r.Instances != 2 {
					t.Errorf("%v is of %d instances, want 2", r, r.Instances)
				}
			}
		})
	}
}

// refusedWhole is the only rejection of whole instances of a table.
func refusedWhole(t *testing.T, table *router.Table) router.Rejection {
	t.Helper()
	all := slices.DeleteFunc(table.Rejections(), func(r router.Rejection) bool { return !r.Instance })
	if len(all) != 1 {
		t.Fatalf("%d rejections of whole instances, want 1: %v", len(all), all)
	}
	return all[0]
}

// TestHostsOfOneRefusedInstance: a rejection names the same hosts of an instance, of the class
// that is served, whether its address or its tags are refused.
func TestHostsOfOneRefusedInstance(t *testing.T) {
	unclear := []string{"ingress.enable=perhaps"}
	var paths []string
	for i := range 128 {
		paths = append(paths, fmt.Sprint("/", i))
	}
	all := strings.Join(paths, ",")
	var full []string // claims as much as closed routes may
	for r := range 70 {
		name := fmt.Sprintf("ingress.r%d.", r)
		full = append(full, name+"host=a.example.org,b.example.org,c.example.org,d.example.org", name+"path="+all, name+"path-exact="+all, name+"allow=10.0.0.1")
	}
	for name, c := range map[string]struct {
		port      int
		class     string
		tags      []string
		hosts     string
		byDefault bool
	}{
		"default host, no port":         {0, "", []string{"ingress.path=/x"}, "app.example.org", true},
		"default host, unclear":         {80, "", append(unclear, "ingress.path=/x"), "app.example.org", true},
		"default host beside, no port":  {0, "", []string{"ingress.r.enable=true", "ingress.s.host=s.example.org"}, "app.example.org,s.example.org", false},
		"default host beside, unclear":  {80, "", append(unclear, "ingress.r.enable=true", "ingress.s.host=s.example.org"), "app.example.org,s.example.org", false},
		"another class, no port":        {0, "", []string{"ingress.host=a.example.org", "ingress.class=internal", "ingress.s.host=s.example.org"}, "s.example.org", false},
		"another class, unclear":        {80, "", append(unclear, "ingress.host=a.example.org", "ingress.class=internal", "ingress.s.host=s.example.org"), "s.example.org", false},
		"only another class, unclear":   {80, "", append(unclear, "ingress.host=a.example.org", "ingress.class=internal"), "", false},
		"the same class, no port":       {0, "internal", []string{"ingress.host=a.example.org", "ingress.class=internal"}, "a.example.org", false},
		"the same class, unclear":       {80, "internal", append(unclear, "ingress.host=a.example.org", "ingress.class=internal"), "a.example.org", false},
		"behind all that may be closed": {80, "", append(full, "ingress.z.host=z.example.org"), "a.example.org,b.example.org,c.example.org,d.example.org,z.example.org", false},
	} {
		t.Run(name, func(t *testing.T) {
			table, b := build(t, router.Options{DefaultHost: "{service}.example.org", Class: c.class})
			defer b.Close()
			s := crowd("shop", "app", 1, 1, func(int) []string { return c.tags })
			s.Instances[0].Port = c.port
			b.Update(snapshotOf(s))
			r := refusedWhole(t, table.Current())
			if got := strings.Join(r.Hosts, ","); got != c.hosts || r.DefaultHost != c.byDefault {
				t.Errorf("it names %q, by default %v; want %q, %v: %v", got, r.DefaultHost, c.hosts, c.byDefault, r)
			}
		})
	}
}

// TestHostsOfManyRefusedInstances: instances that are refused for one reason are one rejection
// whatever hosts they have; it names as many as one route may, and those of an older table stay.
func TestHostsOfManyRefusedInstances(t *testing.T) {
	table, b := build(t, router.Options{DefaultHost: "{job}.example.org"})
	defer b.Close()
	tags := func(i int) []string { // 6 hosts each, of which one is the same
		return []string{fmt.Sprintf("ingress.host=a.example.org,%s", hostList(fmt.Sprint("i", i), 3)), fmt.Sprintf("ingress.r.host=%s", hostList(fmt.Sprint("r", i), 2))}
	}
	update := func(n int, tags func(int) []string) router.Rejection {
		t.Helper()
		s := crowd("shop", "app", n, 1, tags)
		for _, i := range s.Instances {
			i.Port = 0
		}
		b.Update(snapshotOf(s))
		r := refusedWhole(t, table.Current())
		if r.Instances != n {
			t.Errorf("%v is of %d instances, want %d", r, r.Instances, n)
		}
		return r
	}
	var last router.Rejection
	for _, n := range []int{1, 2, 3, 25, 26, 1000} {
		before := slices.Clone(last.Hosts)
		r := update(n, tags)
		want := min(1+5*n, 128)
		if distinct := slices.Compact(slices.Sorted(slices.Values(r.Hosts))); len(r.Hosts) != want || len(distinct) != want {
			t.Errorf("%d instances: %d hosts, %d of them different, want %d", n, len(r.Hosts), len(distinct), want)
		}
		if !slices.Equal(before, last.Hosts) || !slices.Equal(before, r.Hosts[:len(before)]) {
			t.Errorf("%d instances: the hosts of the last table were %v, are %v, and now %v", n, before, last.Hosts, r.Hosts)
		}
		last = r
	}
	ofOneInstance := func(int) (tags []string) { // 160 hosts
		for r := range 8 {
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=%s", r, hostList(fmt.Sprint("r", r), 20)))
		}
		return tags
	}
	for _, n := range []int{1, 2} {
		if r := update(n, ofOneInstance); len(r.Hosts) != 128 {
			t.Errorf("%d instances: %d hosts, want 128", n, len(r.Hosts))
		}
	}
	byDefault := func(int) []string { return []string{"ingress.path=/"} }
	if r := update(3, byDefault); !r.DefaultHost || len(r.Hosts) != 1 {
		t.Errorf("the default host: %v, %v", r.Hosts, r.DefaultHost)
	}
	for first := range 2 {
		r := update(2, func(i int) []string {
			if i == first {
				return byDefault(i)
			}
			return tags(i)
		})
		if r.DefaultHost || len(r.Hosts) != 7 {
			t.Errorf("the default host and others: %v, %v", r.Hosts, r.DefaultHost)
		}
	}
}

// TestHostsOfRefusedJobs: instances of two jobs with the same tags are two rejections, and hosts
// that are added to one of them are not the other's.
func TestHostsOfRefusedJobs(t *testing.T) {
	table, b := build(t, router.Options{})
	defer b.Close()
	s := crowd("shop", "app", 4, 1, func(i int) []string {
		if i < 2 { // of both jobs
			return []string{"ingress.host=a.example.org,b.example.org,c.example.org"}
		}
		return []string{fmt.Sprintf("ingress.host=h%d.example.org", i)}
	})
	for i, instance := range s.Instances {
		instance.Port, instance.Job = 0, fmt.Sprint("job", i%2)
	}
	b.Update(snapshotOf(s))
	got := make(map[string]string)
	for _, r := range table.Current().Rejections() {
		got[r.Job] = strings.Join(r.Hosts, " ")
	}
	const same = "a.example.org b.example.org c.example.org "
	if len(got) != 2 || got["job0"] != same+"h2.example.org" || got["job1"] != same+"h3.example.org" {
		t.Errorf("the jobs' hosts are %q", got)
	}
}

// TestHostsOfTheRefusedHaveAQuota: a rejection of instances names no more hosts than there is
// memory for, and the others of the service are served.
func TestHostsOfTheRefusedHaveAQuota(t *testing.T) {
	const most = 12_000
	table, b := build(t, router.Options{Quotas: router.Quotas{Memory: router.Limits{Service: most, Namespace: most, Total: most}}})
	defer b.Close()
	s := crowd("shop", "app", 20, 1, func(i int) []string { return []string{"ingress.host=" + hostList(fmt.Sprintf("%050d", i), 16)} })
	for _, i := range s.Instances {
		i.Port = 0
	}
	b.Update(snapshotOf(s))
	r := refusedWhole(t, table.Current())
	used := tableMemory(table.Current()).Used
	if len(r.Hosts) == 0 || len(r.Hosts) >= 128 || r.Instances != 20 || used > most || used < most/2 {
		t.Errorf("%d hosts of %d instances are named; %d bytes are used of %d", len(r.Hosts), r.Instances, used, most)
	}
}
