// Package jobs_test reads every job file as Nomad would, and as serai would.
package jobs_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"serai/consul"
	"serai/discovery"
	"serai/nomad"
	"serai/policy"
	"serai/router"
	"serai/upstream"
)

var update = flag.Bool("update", false, "rewrite testdata/table.golden")

// varFile has the variables of serai's own jobs that have no default.
const varFile = "serai.vars.hcl"

// jobFile is a parsed job file with its variables at their defaults.
type jobFile struct {
	name string
	text string
	file *hclsyntax.Body
	job  *hclsyntax.Block
	vars map[string]cty.Value
}

func files(t *testing.T) []jobFile {
	t.Helper()
	paths, err := filepath.Glob("*.nomad.hcl")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no job files: %v", err)
	}
	variables, diagnostics := hclparse.NewParser().ParseHCLFile(varFile)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	given := variables.Body.(*hclsyntax.Body).Attributes
	var all []jobFile
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, diagnostics := hclparse.NewParser().ParseHCL(text, path)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		f := jobFile{name: path, text: string(text), file: file.Body.(*hclsyntax.Body), vars: make(map[string]cty.Value)}
		for _, b := range f.file.Blocks {
			switch b.Type {
			case "variable":
				value, ok := b.Body.Attributes["default"]
				if !ok {
					value, ok = given[b.Labels[0]]
				}
				if !ok {
					t.Fatalf("%s: neither a default nor %s has a value for %s", path, varFile, b.Labels[0])
				}
				v, diagnostics := value.Expr.Value(nil)
				if diagnostics.HasErrors() {
					t.Fatal(diagnostics)
				}
				f.vars[b.Labels[0]] = v
			case "job":
				f.job = b
			}
		}
		if f.job == nil {
			t.Fatalf("%s has no job", path)
		}
		all = append(all, f)
	}
	return all
}

// value evaluates an attribute. Variables of Nomad's own, which have a value
// only on a node, stand for themselves.
func (f *jobFile) value(t *testing.T, e hclsyntax.Expression) cty.Value {
	t.Helper()
	known := map[string]cty.Value{"var": cty.ObjectVal(f.vars)}
	for _, v := range e.Variables() {
		root := v.RootName()
		switch {
		case root == "var":
		case root == "node":
			known[root] = cty.ObjectVal(map[string]cty.Value{"unique": cty.ObjectVal(map[string]cty.Value{"id": cty.StringVal("NODE")})})
		case root == "attr":
			consul := cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("NODE-IN-CONSUL")})
			known[root] = cty.ObjectVal(map[string]cty.Value{"unique": cty.ObjectVal(map[string]cty.Value{"consul": consul})})
		case strings.HasPrefix(root, "NOMAD_"):
			known[root] = cty.StringVal(root)
		default:
			t.Fatalf("%s: nobody knows %s", f.name, root)
		}
	}
	v, diagnostics := e.Value(&hcl.EvalContext{Variables: known, Functions: map[string]function.Function{"concat": stdlib.ConcatFunc}})
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return v
}

func (f *jobFile) list(t *testing.T, b *hclsyntax.Block, name string) (values []string) {
	if a := b.Body.Attributes[name]; a != nil {
		for _, v := range f.value(t, a.Expr).AsValueSlice() {
			values = append(values, v.AsString())
		}
	}
	return values
}

func (f *jobFile) text1(t *testing.T, b *hclsyntax.Block, name string) string {
	a := b.Body.Attributes[name]
	if a == nil {
		return ""
	}
	return f.value(t, a.Expr).AsString()
}

// blocks returns all blocks of a type, at any depth.
func blocks(body *hclsyntax.Body, kind string) (found []*hclsyntax.Block) {
	for _, b := range body.Blocks {
		if b.Type == kind {
			found = append(found, b)
		}
		found = append(found, blocks(b.Body, kind)...)
	}
	return found
}

// registrations makes up what Nomad would register: one instance of each
// service, and one canary where there are canary_tags.
func registrations(t *testing.T) *discovery.Snapshot {
	s := &discovery.Snapshot{Services: make(map[discovery.Key]*discovery.Service)}
	index := uint64(10)
	for _, f := range files(t) {
		namespace := f.text1(t, f.job, "namespace")
		if namespace == "" {
			namespace = nomad.DefaultNamespace
		}
		for _, b := range blocks(f.job.Body, "service") {
			meshed := len(blocks(b.Body, "connect")) > 0 // which only Consul has
			want := "nomad"
			if meshed || f.name == "consul.nomad.hcl" {
				want = "consul"
			}
			if p := f.text1(t, b, "provider"); p != want {
				t.Errorf("%s: the provider of service %s is %q, want %s", f.name, f.text1(t, b, "name"), p, want)
			}
			key := discovery.Key{Namespace: namespace, Name: f.text1(t, b, "name")}
			if want == "consul" {
				key.Namespace = discovery.ConsulNamespace
			}
			service := &discovery.Service{Key: key}
			for i, tags := range [][]string{f.list(t, b, "tags"), f.list(t, b, "canary_tags")} {
				if i > 0 && tags == nil {
					continue
				}
				index++
				instance := &discovery.Instance{
					ID: fmt.Sprintf("%s-%d", key.Name, i), Service: key.Name, Namespace: key.Namespace, Job: f.job.Labels[0],
					Alloc: fmt.Sprintf("alloc-%d", index), Tags: tags, Address: "10.0.0.1", Port: 20000 + int(index), Created: index, Modified: index,
				}
				if meshed {
					instance.Sidecar = &discovery.Sidecar{ID: instance.ID + "-sidecar-proxy", Address: "10.0.0.1", Port: 21000, Service: key.Name, Datacenter: "dc1"}
				}
				service.Instances = append(service.Instances, instance)
			}
			s.Services[key] = service
		}
	}
	return s
}

// table is what serai makes of all files together.
func table(t *testing.T) *router.Table {
	t.Helper()
	return tableOf(t, registrations(t))
}

// tableOf is what serai makes of instances.
func tableOf(t *testing.T, s *discovery.Snapshot) *router.Table {
	t.Helper()
	r := router.NewRouter()
	b, err := router.NewBuilder(r, router.Options{
		Registry: upstream.NewRegistry(upstream.RegistryOptions{}), DefaultHost: "{service}.example.org",
		Catalog: policy.NewCatalog(nil, []*policy.Auth{{Name: "staff", Check: staff{}}}, nil), // as serai.config.hcl has it
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Update(s)
	t.Cleanup(b.Close)
	return r.Current()
}

// staff stands for the auth of serai.config.hcl.
type staff struct{}

func (staff) Request(policy.Request, *policy.Reply) bool { return false }
func (staff) Explain() string                            { return "auth: staff" }

// TestTable compares the routes that all files together make with a golden.
func TestTable(t *testing.T) {
	table := table(t)
	var out strings.Builder
	for _, route := range table.Routes() {
		fmt.Fprintf(&out, "%s %s -> %s", route.Host, route.Path, route)
		for _, c := range route.Conditions {
			fmt.Fprintf(&out, ", %s", c)
		}
		if o := route.Options; o.Redirect != nil {
			fmt.Fprintf(&out, ", redirect %s", o.Redirect)
		}
		fmt.Fprintln(&out)
		for _, m := range route.Pool.Members() {
			fmt.Fprintf(&out, "    %s", m.ID)
			if m.Canary != nil {
				fmt.Fprintf(&out, ", canary %+v", *m.Canary)
			}
			if m.Strip != "" {
				fmt.Fprintf(&out, ", strip %s", m.Strip)
			}
			if c := m.Endpoint.Target().Check; c.Path != "" {
				fmt.Fprintf(&out, ", check %s every %v", c.Path, c.Interval)
			}
			fmt.Fprintln(&out)
		}
	}
	out.WriteString("\nrefused\n")
	for _, rejection := range table.Rejections() {
		fmt.Fprintln(&out, rejection)
	}
	golden(t, "table.golden", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it):\n%s", path, got)
	}
}

// request is one that the comment of a file proposes.
type request struct {
	host, path string
	header     []string // names and values in turn
}

var (
	curlLine   = regexp.MustCompile(`(?m)^#   curl (.*) http://ANY-NODE(/\S*)$`)
	curlHeader = regexp.MustCompile(`-H '([^:']+): ([^']*)'`)
)

// requests returns what a file's comment proposes to try.
func (f *jobFile) requests(t *testing.T) (all []request) {
	t.Helper()
	for _, line := range curlLine.FindAllStringSubmatch(f.text, -1) {
		r := request{path: line[2]}
		for _, h := range curlHeader.FindAllStringSubmatch(line[1], -1) {
			if h[1] == "Host" {
				r.host = h[2]
				continue
			}
			r.header = append(r.header, h[1], h[2])
		}
		all = append(all, r)
	}
	return all
}

// attributes are the headers of a request.
type attributes []string

func (a attributes) Header(name string) []byte {
	for i := 0; i+1 < len(a); i += 2 {
		if strings.EqualFold(a[i], name) {
			return []byte(a[i+1])
		}
	}
	return nil
}
func (attributes) Cookie(string, int) []byte { return nil }
func (attributes) ClientIP() []byte          { return []byte{192, 0, 2, 1} }

// TestRequests holds what the comments propose to try to what the table does:
// each request goes to the file's own job.
func TestRequests(t *testing.T) {
	table := table(t)
	for _, f := range files(t) {
		requests := f.requests(t)
		if len(requests) == 0 && len(blocks(f.job.Body, "service")) > 0 && !strings.HasPrefix(f.name, "serai.") {
			t.Errorf("%s does not say how to try it: # then three blanks, curl -H 'Host: NAME' http://ANY-NODE/", f.name)
		}
		for _, r := range requests {
			route, miss := table.Lookup(&router.Query{
				Host: []byte(r.host), Method: []byte("GET"), Path: []byte(r.path), Attributes: attributes(r.header),
			})
			if route == nil {
				t.Errorf("%s: no route takes %v: %v", f.name, r, miss)
			} else if route.Job != f.job.Labels[0] {
				t.Errorf("%s: %v goes to %s of job %s", f.name, r, route, route.Job)
			}
		}
	}
}

// TestNomadTakesTheFiles lets Nomad's own parser and checks read every file.
// They need no agent.
func TestNomadTakesTheFiles(t *testing.T) {
	for _, f := range files(t) {
		var args []string
		if _, ok := f.vars["args"]; ok {
			args = append(args, "-var-file="+varFile)
		}
		validate(t, f.name, append(args, f.name)...)
	}
	if out, err := exec.Command(findNomad(), "fmt", "-check", ".").CombinedOutput(); err != nil {
		t.Errorf("nomad fmt would change files: %v\n%s", err, out)
	}
}

// validate has Nomad read a job file, without an agent; where there is no Nomad, it skips.
func validate(t *testing.T, name string, args ...string) {
	t.Helper()
	bin := findNomad()
	if bin == "" {
		t.Skip("no nomad to ask: put it on PATH, or its path into NOMAD_BIN")
	}
	cmd := exec.Command(bin, append([]string{"job", "validate"}, args...)...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR=http://127.0.0.1:1", "NOMAD_CLI_NO_COLOR=1") // where no agent is
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nomad job validate, %s: %v\n%s", name, err, out)
	}
}

// TestFilesAreExplained holds every file to a comment and a line in the
// README.
func TestFilesAreExplained(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files(t) {
		if !strings.HasPrefix(f.text, "# ") {
			t.Errorf("%s does not begin with what it shows", f.name)
		}
		if !strings.Contains(string(readme), "]("+f.name+")") {
			t.Errorf("README.md does not name %s", f.name)
		}
	}
	for _, name := range []string{"serai.policy.hcl", varFile} {
		if !strings.Contains(string(readme), "]("+name+")") {
			t.Errorf("README.md does not name %s", name)
		}
	}
}

// TestSystemJobs holds the jobs of serai itself to what its operation needs.
func TestSystemJobs(t *testing.T) {
	found := 0
	for _, f := range files(t) {
		if !strings.HasPrefix(f.name, "serai.") {
			continue
		}
		found++
		if kind := f.text1(t, f.job, "type"); kind != "system" {
			t.Errorf("%s: type %q, want system", f.name, kind)
		}
		for _, b := range f.file.Blocks {
			// What is planned without the var-file must fail, and not drop ACME.
			if b.Type == "variable" && b.Labels[0] == "args" && b.Body.Attributes["default"] != nil {
				t.Errorf("%s: the flags have a default", f.name)
			}
		}
		ports := make(map[string]string)
		for _, p := range blocks(f.job.Body, "port") {
			ports[p.Labels[0]] = f.value(t, p.Body.Attributes["static"].Expr).AsBigFloat().String()
		}
		if ports["http"] != "80" || ports["https"] != "443" {
			t.Errorf("%s: static ports %v, want http 80 and https 443", f.name, ports)
		}
		for _, kind := range []string{"identity", "update", "check", "resources", "restart"} {
			if n := len(blocks(f.job.Body, kind)); n != 1 {
				t.Errorf("%s: %d %s blocks, want one", f.name, n, kind)
			}
		}
		if path := f.text1(t, blocks(f.job.Body, "check")[0], "path"); path != "/.serai/ready" {
			t.Errorf("%s: the check asks for %q, want the ready path", f.name, path)
		}
		task := blocks(f.job.Body, "task")[0]
		kill, err := time.ParseDuration(f.text1(t, task, "kill_timeout"))
		if err != nil {
			t.Errorf("%s: kill_timeout: %v", f.name, err)
		}
		// The agents' max_kill_timeout, unless it is raised.
		if kill > 30*time.Second {
			t.Errorf("%s: kill_timeout %v is more than an agent allows", f.name, kill)
		}
		args := f.list(t, blocks(task.Body, "config")[0], "args")
		if drain := flagOf(t, args, "--drain-delay") + flagOf(t, args, "--drain-timeout"); kill <= drain {
			t.Errorf("%s: kill_timeout %v does not hold the drain of %v", f.name, kill, drain)
		}
	}
	if found != 4 {
		t.Errorf("%d jobs of serai itself, want docker, exec, raw_exec and consul", found)
	}
}

func flagOf(t *testing.T, args []string, name string) time.Duration {
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, name+"=") })
	if i < 0 {
		t.Errorf("%s is not set", name)
		return 0
	}
	d, err := time.ParseDuration(args[i][len(name)+1:])
	if err != nil {
		t.Error(err)
	}
	return d
}

// TestDialects holds the example in Consul to what it says of itself: it is the one in Nomad
// with another provider and another function in the template. Serai's own job with Consul is
// its job with raw_exec, with more.
func TestDialects(t *testing.T) {
	body := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\n\nvariable")
		return rest
	}
	nomad := strings.NewReplacer("groups-", "consul-", "groups.example", "consul.example", `job "groups"`, `job "consul"`).Replace(body("groups.nomad.hcl"))
	before, token, _ := strings.Cut(body("consul.nomad.hcl"), "      # Has Nomad log the task in")
	_, after, found := strings.Cut(token, "consul {}\n\n")
	if inConsul := inDialectOfConsul(nomad); inConsul == nomad || !found || inConsul != before+after {
		t.Errorf("consul.nomad.hcl is not groups.nomad.hcl in Consul:\n%s", body("consul.nomad.hcl"))
	}
	rest := strings.Split(body("serai.consul.nomad.hcl"), "\n")
	for _, line := range strings.Split(body("serai.raw_exec.nomad.hcl"), "\n") {
		at := slices.Index(rest, line)
		if at < 0 {
			t.Fatalf("serai.consul.nomad.hcl lacks %q of serai.raw_exec.nomad.hcl, or has it elsewhere", line)
		}
		rest = rest[at+1:]
	}
}

// inDialectOfConsul is a job file whose services are in Consul.
func inDialectOfConsul(text string) string {
	return strings.NewReplacer(`provider = "nomad"`, `provider = "consul"`, "range nomadService ", "range service ").Replace(text)
}

// TestConsulPolicy holds the policy for Consul to what serai asks for when a right is missing.
func TestConsulPolicy(t *testing.T) {
	text, err := os.ReadFile("serai.consul.policy.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if want := (&consul.AccessError{}).Policy(); strings.ReplaceAll(string(text), "}\n\nnode", "}\nnode") != string(text[:strings.Index(string(text), "service_prefix")])+want {
		t.Errorf("serai.consul.policy.hcl is not what serai asks for:\n%s", want)
	}
}

// TestPolicy holds the policy to what serai does: it reads services of all
// namespaces, and changes variables of its own in one.
func TestPolicy(t *testing.T) {
	file, diagnostics := hclparse.NewParser().ParseHCLFile("serai.policy.hcl")
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	var granted []string
	grant := func(what string, b *hclsyntax.Block) {
		v, diagnostics := b.Body.Attributes["capabilities"].Expr.Value(nil)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		for _, c := range v.AsValueSlice() {
			granted = append(granted, what+" "+c.AsString())
		}
	}
	for _, n := range file.Body.(*hclsyntax.Body).Blocks {
		grant(n.Labels[0], n)
		for _, p := range blocks(n.Body, "path") {
			grant(n.Labels[0]+" "+p.Labels[0], p)
		}
	}
	// The block of one namespace shadows the glob's, so it grants read-job, too.
	want := []string{
		"* read-job", "default read-job",
		"default serai/* read", "default serai/* list", "default serai/* write", "default serai/* destroy",
	}
	if !slices.Equal(granted, want) {
		t.Errorf("granted are %q, want %q", granted, want)
	}
}
