package nomad_test

import (
	"os"
	"path/filepath"
	"testing"

	"serai/nomad"
)

func TestOptionsFromEnv(t *testing.T) {
	empty := t.TempDir()
	full := t.TempDir()
	for _, name := range []string{"api.sock", "nomad_token"} {
		if err := os.WriteFile(filepath.Join(full, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket, file := "unix://"+filepath.Join(full, "api.sock"), filepath.Join(full, "nomad_token")
	const identity, aclToken = "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "4b1c8a0e-0000-0000-0000-000000000000"
	type env map[string]string
	for name, tc := range map[string]struct {
		env  env
		want nomad.Options
	}{
		"nothing": {env{}, nomad.Options{}},
		"an address": {env{"NOMAD_ADDR": "https://nomad.test:4646"},
			nomad.Options{Address: "https://nomad.test:4646"}},
		"a socket's path": {env{"NOMAD_UNIX_ADDR": "/run/api.sock"},
			nomad.Options{Address: "unix:///run/api.sock"}},
		"a socket's URL": {env{"NOMAD_UNIX_ADDR": "unix:///run/api.sock"},
			nomad.Options{Address: "unix:///run/api.sock"}},
		"an address wins over a socket": {env{"NOMAD_ADDR": "http://a:1", "NOMAD_UNIX_ADDR": "/run/api.sock", "NOMAD_SECRETS_DIR": full},
			nomad.Options{Address: "http://a:1", TokenFile: file}},
		"a named socket wins over the task's": {env{"NOMAD_UNIX_ADDR": "/run/api.sock", "NOMAD_SECRETS_DIR": full},
			nomad.Options{Address: "unix:///run/api.sock", TokenFile: file}},
		"a task": {env{"NOMAD_SECRETS_DIR": full, "NOMAD_NAMESPACE": "infra", "NOMAD_REGION": "eu", "NOMAD_JOB_ID": "serai"},
			nomad.Options{Address: socket, TokenFile: file, Region: "eu"}},
		"a task without identity or socket": {env{"NOMAD_SECRETS_DIR": empty}, nomad.Options{}},
		"a secrets directory that is not there": {env{"NOMAD_SECRETS_DIR": filepath.Join(empty, "none"), "NOMAD_TOKEN": aclToken},
			nomad.Options{Token: aclToken}},
		"an identity in the environment, and renewed in the file": {env{"NOMAD_SECRETS_DIR": full, "NOMAD_TOKEN": identity},
			nomad.Options{Address: socket, Token: identity, TokenFile: file}},
		"an identity in the environment alone": {env{"NOMAD_SECRETS_DIR": empty, "NOMAD_TOKEN": identity},
			nomad.Options{Token: identity}},
		"an ACL token is a wish": {env{"NOMAD_SECRETS_DIR": full, "NOMAD_TOKEN": aclToken},
			nomad.Options{Address: socket, Token: aclToken}},
		"a file of another name": {env{"NOMAD_SECRETS_DIR": full, "NOMAD_TOKEN": identity, "NOMAD_TOKEN_FILE": "/secrets/nomad_serai.jwt"},
			nomad.Options{Address: socket, Token: identity, TokenFile: "/secrets/nomad_serai.jwt"}},
		"a file wins over an ACL token": {env{"NOMAD_TOKEN": aclToken, "NOMAD_TOKEN_FILE": "/etc/token"},
			nomad.Options{Token: aclToken, TokenFile: "/etc/token"}},
		"a file outside of tasks": {env{"NOMAD_ADDR": "http://a:1", "NOMAD_TOKEN_FILE": "/etc/token"},
			nomad.Options{Address: "http://a:1", TokenFile: "/etc/token"}},
		"white space about a token": {env{"NOMAD_TOKEN": " " + aclToken + "\n"}, nomad.Options{Token: aclToken}},
		"TLS": {env{"NOMAD_CACERT": "ca.pem", "NOMAD_CAPATH": "cas", "NOMAD_CLIENT_CERT": "c.pem", "NOMAD_CLIENT_KEY": "k.pem",
			"NOMAD_TLS_SERVER_NAME": "server.global.nomad", "NOMAD_SKIP_VERIFY": "true"},
			nomad.Options{TLS: nomad.TLS{CACert: "ca.pem", CAPath: "cas", ClientCert: "c.pem", ClientKey: "k.pem",
				ServerName: "server.global.nomad", SkipVerify: true}}},
		"skip verify 1":     {env{"NOMAD_SKIP_VERIFY": "1"}, nomad.Options{TLS: nomad.TLS{SkipVerify: true}}},
		"skip verify false": {env{"NOMAD_SKIP_VERIFY": "false"}, nomad.Options{}},
		// A value that is not a boolean must not disable verification.
		"skip verify yes": {env{"NOMAD_SKIP_VERIFY": "yes"}, nomad.Options{}},
		"region":          {env{"NOMAD_REGION": "eu"}, nomad.Options{Region: "eu"}},
		// The caller decides which namespaces are watched: in a task the variable names
		// the job's own.
		"namespace": {env{"NOMAD_NAMESPACE": "shop"}, nomad.Options{}},
		// The address is on this machine or in this network.
		"a proxy": {env{"HTTP_PROXY": "http://proxy", "NOMAD_PROXY": "http://proxy"}, nomad.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := nomad.OptionsFromEnv(func(k string) string { return tc.env[k] })
			if got.Logger != nil || got.OnRequest != nil {
				t.Errorf("got %+v", got)
			}
			if got.Address != tc.want.Address || got.Region != tc.want.Region || got.Token != tc.want.Token ||
				got.TokenFile != tc.want.TokenFile || got.TLS != tc.want.TLS || got.Limits != tc.want.Limits {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}
