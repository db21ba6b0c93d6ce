package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/tls/acme/acmetest"
)

// TestStateDirectoryOfOthers is refused, wherever state is kept in it.
func TestStateDirectoryOfOthers(t *testing.T) {
	ca := acmetest.New(t, acmetest.Options{})
	for name, args := range map[string][]string{
		"services":           nil,
		"copied":             append(acmeFlags(ca, "x"), "--cert-store=nomad"),
		"files":              append(acmeFlags(ca, "x"), "--cert-store=file", "--no-nomad"),
		"autocert":           append(acmeFlags(ca, "x"), "--acme-engine=autocert", "--no-nomad"),
		"certificates below": append(acmeFlags(ca, "x"), "--cert-store=file", "--no-nomad"),
	} {
		dir := t.TempDir()
		open := dir
		if name == "certificates below" {
			open = filepath.Join(dir, "certificates")
			if err := os.Mkdir(open, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		err := run(t.Context(), append([]string{"serve", "--http=127.0.0.1:0", "--https=127.0.0.1:0", "--admin=", "--state-dir=" + dir}, args...),
			func(string) string { return "" }, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "can be written by others (mode 0777)") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWrongLimits are refused, and told.
func TestWrongLimits(t *testing.T) {
	for _, flag := range []string{"--acme-max-orders=-1", "--acme-max-domain=-1", "--acme-max-failures=-1", "--acme-max-certificates=-1", "--acme-namespace-share=1.5", "--acme-namespace-share=NaN"} {
		err := run(t.Context(), []string{"serve", "--http=127.0.0.1:0", "--admin=", "--acme-email=a@example.org", "--cert-store=nomad", flag},
			func(string) string { return "" }, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "acme options: ") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// TestWrongNumbersNameTheirFlag: whoever writes one is told which, before anything starts.
func TestWrongNumbersNameTheirFlag(t *testing.T) {
	for _, flag := range []string{
		"--retry-share=7", "--retry-share=-0.1", "--retry-share=NaN", "--eject-share=1", "--eject-share=-1", "--eject-share=NaN", "--access-log-sample=1.5", "--access-log-sample=NaN",
		"--max-waiting=-1", "--max-interim=-1", "--max-hops=0", "--rate-keys=0", "--password-checks=-1",
	} {
		err := run(t.Context(), []string{"serve", "--no-nomad", "--services=none.json", "--http=127.0.0.1:0", "--admin=", flag}, func(string) string { return "" }, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
