package jobs_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/internal/testdoc"
	"serai/internal/testnet"
)

// What a new operator reads, as it is printed: the README's first five minutes, and the recipes
// of docs/troubleshooting.md and docs/upgrading.md. Of each command only names are replaced: those
// of nodes, of ports, and of the folders that it writes to.

// operator is somebody at a shell in a clone of the repository.
type operator struct {
	*cluster
	names *strings.Replacer
	env   []string
}

// newOperator gives the one node of a cluster an address for ssh and free ports. Its ssh and scp run
// on this machine, and bin has what would be in /usr/local/bin of the node.
func newOperator(t *testing.T, acl bool) *operator {
	t.Helper()
	c := newCluster(t, acl)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	bin, tools, vars := c.path("bin"), c.path("tools"), c.path("serai.vars.hcl")
	for _, dir := range []string{bin, tools} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range map[string]string{
		"ssh":   "shift\nexec sh -c \"$*\"\n",
		"scp":   "exec cp \"$1\" \"${2#*:}\"\n",
		"nomad": "exec '" + c.nomad + "' \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(varFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vars, append(text, fmt.Sprintf("\nbinary = %q\n", filepath.Join(bin, "serai"))...), 0o644); err != nil {
		t.Fatal(err)
	}
	ports := testnet.Ports(t, 4)
	c.traffic, c.admin = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[2])
	o := &operator{cluster: c}
	o.names = strings.NewReplacer(
		"http://node1.example.org", c.traffic, "node1.example.org node2.example.org", "127.0.0.1",
		"/usr/local/bin/serai \"$@\"", filepath.Join(bin, "serai")+" \"$@\" --admin="+c.admin,
		"/usr/local/bin", bin, "127.0.0.1:8081", c.admin, " serai.vars.hcl", " "+vars, "=serai.vars.hcl", "="+vars,
		"jobs/ingress.nomad.hcl", c.path("ingress.nomad.hcl"), "serai:dev", c.image(),
	)
	o.env = append(os.Environ(),
		"PATH="+tools+":"+os.Getenv("PATH"), "NOMAD_ADDR="+c.address, "NOMAD_TOKEN="+c.token, "NOMAD_CLI_NO_COLOR=1", "NODES=127.0.0.1",
		"IMAGE="+c.image(), "NOMAD_VAR_image="+c.image(), "NOMAD_VAR_binary="+filepath.Join(bin, "serai"),
	)
	for i, name := range []string{"http", "https", "admin", "metrics"} {
		o.env = append(o.env, fmt.Sprintf("NOMAD_VAR_%s_port=%d", name, ports[i]))
	}
	t.Chdir(root)
	return o
}

// block returns the commands of a document that stand under a name.
func (o *operator) block(document, name string) string {
	o.t.Helper()
	section := testdoc.Section(o.t, document, name)
	_, rest, opened := strings.Cut(section, "```sh\n")
	commands, _, closed := strings.Cut(rest, "```\n")
	if !opened || !closed {
		o.t.Fatalf("%s has no commands named %s", document, name)
	}
	return commands
}

// types types a command, and returns what it prints.
func (o *operator) types(command string) (string, error) {
	// A deployment that never becomes healthy would be waited for; a build takes as long as it takes.
	ctx, cancel := context.WithTimeout(context.Background(), 10*testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", o.names.Replace(command))
	cmd.Env, cmd.WaitDelay = o.env, time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// follows types a block line by line. Each must succeed; curl is repeated until it is answered.
func (o *operator) follows(document, name string) {
	o.t.Helper()
	for line := range strings.Lines(o.block(document, name)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"), strings.HasPrefix(line, "NODES="):
		case strings.HasPrefix(line, "curl "):
			var out string
			o.until(line, func() (done bool) {
				out, _ = o.types("curl --fail-with-body -s" + strings.TrimPrefix(line, "curl"))
				return strings.HasPrefix(out, "web, allocation ")
			})
		default:
			out, err := o.types(line)
			// A plan with changes ends with 1.
			if exit, ok := err.(*exec.ExitError); err != nil && !(ok && exit.ExitCode() == 1 && strings.HasPrefix(line, "nomad job plan ")) {
				o.t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
	}
}

// finds types a block in which a comment behind each command has what it prints, sooner or later.
func (o *operator) finds(name string) {
	o.t.Helper()
	const document = "docs/troubleshooting.md"
	ask := o.block(document, "ask")
	lines := 0
	for line := range strings.Lines(o.block(document, name)) {
		command, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " # ")
		if !ok {
			o.t.Fatalf("%s: nothing says what this prints: %s", document, line)
		}
		lines++
		o.until(fmt.Sprintf("%q from %s", want, command), func() bool {
			out, _ := o.types(ask + command) // explain exits with 3 where no route takes the request
			return strings.Contains(out, strings.TrimSpace(want))
		})
	}
	if lines < 3 {
		o.t.Errorf("%s: %d commands under %s", document, lines, name)
	}
}

// TestFiveMinutesWithDocker follows the README where Docker is all that nodes have.
func TestFiveMinutesWithDocker(t *testing.T) {
	o := newOperator(t, true)
	if err := exec.Command("docker", "version").Run(); err != nil {
		t.Skipf("no Docker to talk to: docker version: %v", err)
	}
	o.needDriver("docker")
	o.follows("README.md", "docker")
	o.isScraped()
}

// TestFirstHourWithRawExec follows the README where raw_exec is all that nodes have, and then an
// operator's first troubles, files, update and rollback.
func TestFirstHourWithRawExec(t *testing.T) {
	o := newOperator(t, true)
	o.follows("README.md", "raw_exec")
	o.isScraped()
	for _, s := range []struct{ name, job, host string }{
		{"404", "jobs/broken-tags.nomad.hcl", "fine.example.org"},
		{"503", "jobs/testdata/closed.nomad.hcl", ""},
	} {
		t.Run(s.name, func(t *testing.T) {
			o.t = t
			if out, err := o.types("nomad job run -detach " + s.job); err != nil {
				t.Fatal(out)
			}
			if s.host != "" {
				o.reaches(s.host, "/", "web")
			}
			o.finds(s.name)
		})
	}
	t.Run("rights", func(t *testing.T) {
		o.t = t
		o.run("acl", "policy", "delete", "serai")
		o.run("job", "restart", "-yes", "serai")
		o.finds("rights")
	})
	t.Run("certificates", func(t *testing.T) {
		o.t = t
		// A CA that is not there.
		if out, err := o.types(`nomad job run -detach -var-file=serai.vars.hcl -var 'args=["--acme-email=ops@example.org", "--acme-directory=https://127.0.0.1:1/dir"]' jobs/serai.raw_exec.nomad.hcl`); err != nil {
			t.Fatal(out)
		}
		o.finds("certificates")
	})
	t.Run("files", func(t *testing.T) {
		o.t = t
		o.hasFiles()
	})
	t.Run("a run without the var-file", func(t *testing.T) {
		o.t = t
		if out, err := o.types("nomad job plan jobs/serai.raw_exec.nomad.hcl"); err == nil || !strings.Contains(out, `Unset variable "args"`) {
			t.Errorf("a plan without flags: %v\n%s", err, out)
		}
	})
	t.Run("update and rollback", func(t *testing.T) {
		o.t = t
		for _, step := range []struct{ name, binary string }{{"update", "serai-2"}, {"rollback", "serai"}} {
			o.follows("docs/upgrading.md", step.name)
			o.until("serai of the "+step.name, func() bool { return o.runs(filepath.Join("bin", step.binary)) && o.instances("host-dynamic") == 3 })
			o.reaches("dynamic.example.org", "/", "web")
		}
	})
	t.Run("rename of the job", func(t *testing.T) {
		o.t = t
		o.run("acl", "policy", "apply", "-namespace", "default", "-job", "serai", "serai", "jobs/serai.policy.hcl") // which was taken away above
		o.follows("docs/upgrading.md", "rename")
		o.until("serai by its new name alone", func() bool {
			running := func(a allocation) bool { return a.ClientStatus == "running" }
			return slices.ContainsFunc(o.allocations("ingress"), running) && !slices.ContainsFunc(o.allocations("serai"), running) && o.instances("host-dynamic") == 3
		})
		o.reaches("dynamic.example.org", "/", "web")
	})
}

// runs tells whether serai's allocation that is running has been started from that file.
func (o *operator) runs(binary string) bool {
	for _, a := range o.allocations("serai") {
		var whole struct {
			Job struct {
				TaskGroups []struct {
					Tasks []struct{ Config struct{ Command string } }
				}
			}
		}
		if a.ClientStatus == "running" && o.api("/v1/allocation/"+a.ID, &whole) == nil && whole.Job.TaskGroups[0].Tasks[0].Config.Command == o.path(binary) {
			return true
		}
	}
	return false
}

// isScraped asks for metrics where Nomad's service discovery tells Prometheus that they are, and
// for the admin's other pages, which are not there.
func (o *operator) isScraped() {
	o.t.Helper()
	var found []struct {
		Address string
		Port    int
	}
	o.until("the service serai-metrics", func() bool { return o.api("/v1/service/serai-metrics", &found) == nil && len(found) == 1 })
	address := "http://" + net.JoinHostPort(found[0].Address, fmt.Sprint(found[0].Port))
	if out, err := o.types("curl -sf " + address + "/metrics"); err != nil || !strings.Contains(out, "serai_build_info{") {
		o.t.Errorf("metrics at %s: %v %.200s", address, err, out)
	}
	if out, err := o.types("curl -sf " + address + "/routes"); err == nil {
		o.t.Errorf("routes at the listener of metrics: %.200s", out)
	}
}

// hasFiles gives serai its config and a key by the job, as serai.vars.hcl shows: one as text, the
// other from a Nomad variable.
func (o *operator) hasFiles() {
	t := o.t
	t.Helper()
	text, err := os.ReadFile("jobs/" + varFile)
	if err != nil {
		t.Fatal(err)
	}
	// What the file shows in comments, uncommented.
	var shown strings.Builder
	for line := range strings.Lines(string(text)) {
		if body, ok := strings.CutPrefix(line, "#   "); ok && !strings.HasPrefix(body, "nomad ") && !strings.HasPrefix(body, "args ") && !strings.HasPrefix(body, "image ") && !strings.HasPrefix(body, "binary ") {
			line = body
		}
		if strings.HasPrefix(line, "args = ") {
			line = "args = [\"--sticky-key-file=$${NOMAD_SECRETS_DIR}/sticky-key\"]\n"
		}
		shown.WriteString(line)
	}
	if err := os.WriteFile(o.path("mine.vars.hcl"), []byte(shown.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	o.run("var", "put", "nomad/jobs/serai", "sticky=0123456789abcdef0123456789abcdef")
	if out, err := o.types("nomad job run -var-file=" + o.path("mine.vars.hcl") + " jobs/serai.raw_exec.nomad.hcl"); err != nil {
		t.Fatal(out)
	}
	if out, err := o.types("nomad job run -detach jobs/auth.nomad.hcl"); err != nil {
		t.Fatal(out)
	}
	o.login("auth.example.org")
	if out, err := o.types("nomad alloc exec -task serai -job serai /bin/sh -c 'cat $NOMAD_SECRETS_DIR/sticky-key; stat -c %a $NOMAD_SECRETS_DIR/sticky-key'"); err != nil || out != "0123456789abcdef0123456789abcdef600\n" {
		t.Errorf("the key in the task: %v %q", err, out)
	}
}
