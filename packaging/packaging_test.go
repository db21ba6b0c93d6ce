// Package packaging_test makes a release twice, and has its packages installed, started, updated
// and removed, also under systemd.
package packaging_test

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// release makes a release for amd64 of the last commit, with a tag, in a clone of its own.
func release(t *testing.T, tag string) (folder string) {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, "..", nil, "git", "clone", "--quiet", "--no-tags", ".", clone)
	run(t, clone, nil, "git", "tag", tag)
	folder = filepath.Join(t.TempDir(), "release")
	run(t, clone, nil, "packaging/release", folder, "amd64")
	return folder
}

// run runs a command in a folder and returns what it prints.
func run(t *testing.T, dir string, env []string, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// need skips where a program is missing, and says which.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s", program)
		}
	}
}

// TestRelease makes one in two clones, and compares all files; then its Debian package is tried.
func TestRelease(t *testing.T) {
	if os.Getenv("SERAI_TEST_RELEASE") == "" {
		t.Skip("three releases and a root take many minutes: SERAI_TEST_RELEASE=1 go test -timeout 40m ./packaging, as .ci/run does")
	}
	need(t, "git", "sha256sum")
	if _, err := os.Stat("../.git"); err != nil {
		t.Skip("no git repository, which a release has its version from")
	}
	for _, module := range []string{"pack", "sbom"} {
		cmd := exec.Command("go", "mod", "download")
		cmd.Dir = module
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("the modules of packaging/%s cannot be had: %v\n%s", module, err, out)
		}
	}
	first := release(t, "v1.0.0")
	t.Run("twice", func(t *testing.T) { isReproducible(t, first, release(t, "v1.0.0")) })
	next := release(t, "v1.1.0")
	t.Run("Debian package in a clean root", func(t *testing.T) { isInstalled(t, first, next) })
	t.Run("packages under systemd", func(t *testing.T) { isRun(t, first, next) })
}

// isReproducible compares two releases of one commit. The version is that of the tag, in the binary, the packages,
// and the list of modules.
func isReproducible(t *testing.T, first, second string) {
	t.Helper()
	sums := read(t, filepath.Join(first, "SHA256SUMS"))
	if again := read(t, filepath.Join(second, "SHA256SUMS")); sums != again {
		t.Errorf("two releases of one commit differ:\n%s\n%s", sums, again)
	}
	if n := strings.Count(sums, "\n"); n != 5 {
		t.Errorf("%d files:\n%s", n, sums)
	}
	run(t, first, nil, "sha256sum", "--check", "--strict", "SHA256SUMS")
	binary := filepath.Join(first, "serai_1.0.0_linux_amd64")
	if v := run(t, first, nil, binary, "version"); !strings.HasPrefix(v, "serai v1.0.0 ") {
		t.Errorf("the version is %q", v)
	}
	if out := run(t, first, nil, "go", "version", "-m", binary); !strings.Contains(out, "CGO_ENABLED=0") || strings.Contains(out, "+dirty") {
		t.Errorf("built with\n%s", out)
	}
	checkModules(t, binary+".cdx.json")
	checkImage(t, binary+".image.tar")
	if _, err := exec.LookPath("dpkg-deb"); err == nil {
		if v := run(t, first, nil, "dpkg-deb", "-f", binary+".deb", "Version", "Architecture"); v != "Version: 1.0.0\nArchitecture: amd64\n" {
			t.Errorf("the Debian package says %q", v)
		}
	}
	if _, err := exec.LookPath("rpm"); err == nil {
		if v := run(t, first, nil, "rpm", "-qp", "--qf", "%{version} %{arch} %{license}", binary+".rpm"); !strings.HasSuffix(v, "1.0.0 x86_64 Apache-2.0") {
			t.Errorf("the RPM package says %q", v)
		}
	}
}

// checkModules holds the list of modules to what go.mod needs at least.
func checkModules(t *testing.T, path string) {
	t.Helper()
	var list struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		// Libraries that are linked.
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(read(t, path)), &list); err != nil {
		t.Fatal(err)
	}
	if list.BOMFormat != "CycloneDX" || list.Metadata.Component.Name != "serai" || list.Metadata.Component.Version != "v1.0.0" {
		t.Errorf("the list of modules is %s of %+v", list.BOMFormat, list.Metadata.Component)
	}
	for _, name := range []string{"std", "github.com/hashicorp/nomad/api", "golang.org/x/net"} {
		if !slices.ContainsFunc(list.Components, func(c struct{ Name, Version string }) bool { return c.Name == name && c.Version != "" }) {
			t.Errorf("the list of modules lacks %s", name)
		}
	}
}

// checkImage holds the image of a release to the Dockerfile, which `make image` uses.
func checkImage(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var manifest []struct {
		Config   string
		RepoTags []string
	}
	var image struct {
		Architecture, OS string
		Config           struct {
			User            string
			Entrypoint, Cmd []string
			ExposedPorts    map[string]struct{}
			Labels          map[string]string
		}
	}
	files := make(map[string][]byte)
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest.json: %v %+v", err, manifest)
	}
	if err := json.Unmarshal(files[manifest[0].Config], &image); err != nil {
		t.Fatal(err)
	}
	if image.OS != "linux" || image.Architecture != "amd64" || !slices.Equal(manifest[0].RepoTags, []string{"serai:1.0.0"}) {
		t.Errorf("the image is %v, for %s on %s", manifest[0].RepoTags, image.OS, image.Architecture)
	}
	dockerfile := read(t, "../Dockerfile")
	said := func(pattern string) (values []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(dockerfile, -1) {
			values = append(values, m[1])
		}
		return values
	}
	c := image.Config
	if users := said(`(?m)^USER (.*)$`); !slices.Equal(users, []string{c.User}) {
		t.Errorf("the user is %s, in the Dockerfile %v", c.User, users)
	}
	for word, got := range map[string][]string{"ENTRYPOINT": c.Entrypoint, "CMD": c.Cmd} {
		text, _ := json.Marshal(got)
		if want := said(`(?m)^` + word + ` (.*)$`); !slices.Equal(want, []string{string(text)}) {
			t.Errorf("%s is %s, in the Dockerfile %v", word, text, want)
		}
	}
	for _, port := range strings.Fields(said(`(?m)^EXPOSE (.*)$`)[0]) {
		if _, ok := c.ExposedPorts[port]; !ok {
			t.Errorf("port %s is not among %v", port, c.ExposedPorts)
		}
	}
	for _, label := range said(`(org\.opencontainers\.image\.\w+="[^"]*")`) {
		name, value, _ := strings.Cut(label, "=")
		if c.Labels[name] != strings.Trim(value, `"`) {
			t.Errorf("the label %s is %q, in the Dockerfile %s", name, c.Labels[name], value)
		}
	}
}

// isInstalled installs, starts, updates, rolls back and removes a package: packaging/try-deb.
func isInstalled(t *testing.T, old, next string) {
	t.Helper()
	need(t, "debootstrap", "dpkg-deb", "unshare", "nsenter", "setpriv", "curl")
	if os.Getuid() != 0 {
		t.Skip("a root of its own needs root")
	}
	out := run(t, ".", nil, "./try-deb", filepath.Join(old, "serai_1.0.0_linux_amd64.deb"), filepath.Join(next, "serai_1.1.0_linux_amd64.deb"))
	for _, want := range []string{"installed and started: 1.0.0", "updated and started: 1.1.0", "rolled back and started: 1.0.0", "removed and purged"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// isRun has a systemd that runs start, restart, update and stop the packages: packaging/try-unit.
func isRun(t *testing.T, old, next string) {
	t.Helper()
	if os.Getenv("SERAI_TEST_SYSTEMD") == "" {
		t.Skip("not run: SERAI_TEST_SYSTEMD is not set; a systemd boots in a container only where the machine's control groups let it")
	}
	need(t, "debootstrap", "systemd-nspawn", "nsenter")
	if os.Getuid() != 0 {
		t.Skip("a container needs root")
	}
	out := run(t, ".", nil, "./try-unit", filepath.Join(old, "serai_1.0.0_linux_amd64.deb"), filepath.Join(next, "serai_1.1.0_linux_amd64.deb"), filepath.Join(next, "serai_1.1.0_linux_amd64.rpm"))
	for _, want := range []string{"deb: installed, enabled and started by systemd", "deb: reloaded, killed, and started again by systemd", "deb: updated and restarted", "deb: stopped and purged",
		"rpm: installed, enabled and started by systemd", "rpm: updated and restarted", "rpm: stopped and removed"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestUnit lets systemd read the unit, and holds it to an exposure that it calls OK.
func TestUnit(t *testing.T) {
	need(t, "systemd-analyze")
	dir := t.TempDir()
	binary := filepath.Join(dir, "serai")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	unit := strings.Replace(read(t, "serai.service"), "/usr/bin/serai", binary, 1)
	path := filepath.Join(dir, "serai.service")
	if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run(t, dir, nil, "systemd-analyze", "verify", path); strings.Contains(out, "serai.service") {
		t.Errorf("systemd does not take the unit:\n%s", out)
	}
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", path).CombinedOutput(); err != nil {
		t.Errorf("the exposure is more than 2.0: %v\n%s", err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
