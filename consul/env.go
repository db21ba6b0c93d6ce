package consul

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OptionsFromEnv reads the variables that the consul command reads
// (https://developer.hashicorp.com/consul/commands#environment-variables). Address, which
// may be empty, overrules CONSUL_HTTP_ADDR.
//
// In a Nomad task whose job has an identity for Consul, Nomad writes the token that it got
// to ${NOMAD_SECRETS_DIR}/consul_token, and renews it there; it is used unless a variable
// names another.
//
// The caller must still Validate the Options.
func OptionsFromEnv(getenv func(string) string, address string) Options {
	o := Options{
		Address:   address,
		Token:     strings.TrimSpace(getenv("CONSUL_HTTP_TOKEN")),
		TokenFile: getenv("CONSUL_HTTP_TOKEN_FILE"),
		TLS: TLS{
			CACert:     getenv("CONSUL_CACERT"),
			CAPath:     getenv("CONSUL_CAPATH"),
			ClientCert: getenv("CONSUL_CLIENT_CERT"),
			ClientKey:  getenv("CONSUL_CLIENT_KEY"),
			ServerName: getenv("CONSUL_TLS_SERVER_NAME"),
		},
	}
	o.User, o.Password, _ = strings.Cut(getenv("CONSUL_HTTP_AUTH"), ":")
	if o.Address == "" {
		o.Address = getenv("CONSUL_HTTP_ADDR")
	}
	// Like the consul command, treat a value that is not a boolean as unset.
	if secure, _ := strconv.ParseBool(getenv("CONSUL_HTTP_SSL")); secure {
		switch {
		case o.Address == "":
			o.Address = strings.Replace(DefaultAddress, "http://", "https://", 1)
		case strings.HasPrefix(o.Address, "http://"):
			o.Address = "https" + o.Address[len("http"):]
		case !strings.Contains(o.Address, "://") && !strings.HasPrefix(o.Address, "unix:"):
			o.Address = "https://" + o.Address
		}
	}
	if verify, err := strconv.ParseBool(getenv("CONSUL_HTTP_SSL_VERIFY")); err == nil {
		o.TLS.SkipVerify = !verify
	}
	if secrets := getenv("NOMAD_SECRETS_DIR"); secrets != "" && o.Token == "" && o.TokenFile == "" {
		if file := filepath.Join(secrets, "consul_token"); exists(file) {
			o.TokenFile = file
		}
	}
	return o
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
