package consul

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestOptionsFromEnv(t *testing.T) {
	secrets := t.TempDir()
	token := filepath.Join(secrets, "consul_token")
	if err := os.WriteFile(token, []byte("of the task"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		address string
		env     map[string]string
		want    Options
	}{
		"nothing":               {},
		"an address":            {env: map[string]string{"CONSUL_HTTP_ADDR": "10.0.0.1:8500"}, want: Options{Address: "10.0.0.1:8500"}},
		"the flag first":        {address: "10.0.0.2:8500", env: map[string]string{"CONSUL_HTTP_ADDR": "10.0.0.1:8500"}, want: Options{Address: "10.0.0.2:8500"}},
		"TLS":                   {env: map[string]string{"CONSUL_HTTP_SSL": "true"}, want: Options{Address: "https://127.0.0.1:8500"}},
		"TLS at an address":     {address: "consul:8501", env: map[string]string{"CONSUL_HTTP_SSL": "1"}, want: Options{Address: "https://consul:8501"}},
		"TLS overrules http":    {address: "http://consul:8501", env: map[string]string{"CONSUL_HTTP_SSL": "1"}, want: Options{Address: "https://consul:8501"}},
		"a socket has no TLS":   {address: "unix:///run/consul.sock", env: map[string]string{"CONSUL_HTTP_SSL": "1"}, want: Options{Address: "unix:///run/consul.sock"}},
		"TLS is no word":        {env: map[string]string{"CONSUL_HTTP_SSL": "maybe"}},
		"not verified":          {env: map[string]string{"CONSUL_HTTP_SSL_VERIFY": "false"}, want: Options{TLS: TLS{SkipVerify: true}}},
		"verified":              {env: map[string]string{"CONSUL_HTTP_SSL_VERIFY": "true"}},
		"a token":               {env: map[string]string{"CONSUL_HTTP_TOKEN": " t\n"}, want: Options{Token: "t"}},
		"a token file":          {env: map[string]string{"CONSUL_HTTP_TOKEN_FILE": "/t", "NOMAD_SECRETS_DIR": secrets}, want: Options{TokenFile: "/t"}},
		"the task's token":      {env: map[string]string{"NOMAD_SECRETS_DIR": secrets}, want: Options{TokenFile: token}},
		"a token of ours first": {env: map[string]string{"NOMAD_SECRETS_DIR": secrets, "CONSUL_HTTP_TOKEN": "t"}, want: Options{Token: "t"}},
		"no task's token":       {env: map[string]string{"NOMAD_SECRETS_DIR": t.TempDir()}},
		"a password":            {env: map[string]string{"CONSUL_HTTP_AUTH": "ann:pass:word"}, want: Options{User: "ann", Password: "pass:word"}},
		"certificates": {
			env:  map[string]string{"CONSUL_CACERT": "a", "CONSUL_CAPATH": "b", "CONSUL_CLIENT_CERT": "c", "CONSUL_CLIENT_KEY": "d", "CONSUL_TLS_SERVER_NAME": "e"},
			want: Options{TLS: TLS{CACert: "a", CAPath: "b", ClientCert: "c", ClientKey: "d", ServerName: "e"}},
		},
	} {
		got := OptionsFromEnv(func(name string) string { return c.env[name] }, c.address)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
