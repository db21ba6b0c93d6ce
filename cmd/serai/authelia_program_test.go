package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// portalHost is where Authelia's own pages are.
const portalHost = "auth.example.org"

// authelia is the real program with the users ann, who is in the groups dev and ops, and
// bob, in none. Their password is pw. Ops may see /admin, everybody /public.
type authelia struct {
	address string
	// ca is the file with the CA of its certificate, where it speaks TLS itself.
	ca   string
	stop func()
}

// autheliaConfig is its configuration: where it listens, the users' file, the domain of
// sessions, the URL of its pages, a directory, and more settings of the server and besides.
const autheliaConfig = `
server:
  address: 'tcp://%[1]s'
%[5]s
log:
  level: 'debug'
ntp:
  disable_startup_check: true
identity_validation:
  reset_password:
    jwt_secret: 'a_secret_of_the_test_that_is_long_enough'
authentication_backend:
  file:
    path: '%[4]s/users.yml'
access_control:
  default_policy: 'deny'
  rules:
    - domain: 'app.example.org'
      resources: ['^/public/.*$']
      policy: 'bypass'
    - domain: 'app.example.org'
      resources: ['^/admin(/.*)?$']
      subject: 'group:ops'
      policy: 'one_factor'
    - domain: 'app.example.org'
      resources: ['^/admin(/.*)?$']
      policy: 'deny'
    - domain: 'app.example.org'
      policy: 'one_factor'
session:
  secret: 'another_secret_of_the_test'
  cookies:
    - domain: '%[2]s'
      authelia_url: '%[3]s'
storage:
  encryption_key: 'one_more_secret_of_the_test_that_is_long'
  local:
    path: '%[4]s/db.sqlite3'
notifier:
  filesystem:
    filename: '%[4]s/notification.txt'
%[6]s
`

const autheliaUsers = `
users:
  ann:
    displayname: 'Ann'
    password: '%[1]s'
    email: 'ann@example.org'
    groups: ['dev', 'ops']
  bob:
    displayname: 'Bob'
    password: '%[1]s'
    email: 'bob@example.org'
`

// autheliaProvider makes it an OpenID provider, for serai.
const autheliaProvider = `
identity_providers:
  oidc:
    hmac_secret: 'a_fourth_secret_of_the_test_that_is_long'
    jwks:
      - key: |
%s
    clients:
      - client_id: '%s'
        client_name: 'serai'
        client_secret: '$plaintext$%s'
        authorization_policy: 'one_factor'
        redirect_uris: ['%s']
        scopes: ['openid', 'profile', 'email', 'groups', 'offline_access']
        grant_types: ['authorization_code', 'refresh_token']
        response_types: ['code']
`

// newAuthelia runs it, as a provider if provider is set: then it speaks TLS.
func newAuthelia(t *testing.T, provider bool) *authelia {
	t.Helper()
	binary := os.Getenv("AUTHELIA_BIN")
	if binary == "" {
		found, err := exec.LookPath("authelia")
		if err != nil {
			t.Skip("no authelia: put the path of one into AUTHELIA_BIN")
		}
		binary = found
	}
	a := &authelia{address: testnet.Address(t)}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	salt := []byte("0123456789abcdef")
	hash := argon2.IDKey([]byte("pw"), salt, 1, 1024, 1, 32)
	write("users.yml", fmt.Sprintf(autheliaUsers, "$argon2id$v=19$m=1024,t=1,p=1$"+base64.RawStdEncoding.EncodeToString(salt)+"$"+base64.RawStdEncoding.EncodeToString(hash)))
	domain, pages, tls, more := "example.org", "https://"+portalHost, "", ""
	if provider {
		domain, pages = "127.0.0.1", "https://"+a.address
		i := authority(t)
		i.write(t, dir, "own", "127.0.0.1")
		a.ca = filepath.Join(dir, "ca.pem")
		i.writeRoot(t, a.ca)
		tls = fmt.Sprintf("  tls:\n    key: '%[1]s/own.key'\n    certificate: '%[1]s/own.crt'\n", dir)
		more = fmt.Sprintf(autheliaProvider, indented(newPEMKey(t)), oidctest.ClientID, oidctest.ClientSecret, callbackURL)
	}
	cmd := exec.Command(binary, "--config", write("configuration.yml", fmt.Sprintf(autheliaConfig, a.address, domain, pages, dir, tls, more)))
	var output buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	a.stop = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("authelia said:\n%s", output.String())
		}
	})
	until(t, "authelia", func() bool {
		c, err := net.Dial("tcp", a.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return a
}

func newPEMKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func indented(text string) string {
	return "          " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n          ")
}

// registration is Authelia as a service whose pages everybody may see.
func (a *authelia) registration() nomad.Registration {
	at := netip.MustParseAddrPort(a.address)
	return nomad.Registration{ID: "authelia", ServiceName: "authelia", Namespace: "default", Address: at.Addr().String(), Port: int(at.Port()), Tags: []string{"ingress.host=" + portalHost}}
}
