package nomad

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OptionsFromEnv reads the variables that the nomad command reads
// (https://developer.hashicorp.com/nomad/docs/commands#environment-variables) and,
// inside a Nomad task, finds the Task API by itself:
//
//   - Address is NOMAD_ADDR; else NOMAD_UNIX_ADDR; else
//     ${NOMAD_SECRETS_DIR}/api.sock if that exists; else empty.
//   - TokenFile is NOMAD_TOKEN_FILE, our own variable, which the nomad command does not
//     have; else ${NOMAD_SECRETS_DIR}/nomad_token if it exists, because that file is
//     renewed and NOMAD_TOKEN is not. An ACL token in NOMAD_TOKEN (anything but a workload
//     identity) was set on purpose and takes precedence over the second. Only an identity
//     with a name may have a TTL, and its file, nomad_NAME.jwt, must be named: the
//     directory may have others, which are meant for Consul, Vault or another program.
//
// The caller must still Validate the Options.
func OptionsFromEnv(getenv func(string) string) Options {
	o := Options{
		Address: getenv("NOMAD_ADDR"),
		Region:  getenv("NOMAD_REGION"),
		Token:   strings.TrimSpace(getenv("NOMAD_TOKEN")),

		TokenFile: getenv("NOMAD_TOKEN_FILE"),
		TLS: TLS{
			CACert:     getenv("NOMAD_CACERT"),
			CAPath:     getenv("NOMAD_CAPATH"),
			ClientCert: getenv("NOMAD_CLIENT_CERT"),
			ClientKey:  getenv("NOMAD_CLIENT_KEY"),
			ServerName: getenv("NOMAD_TLS_SERVER_NAME"),
		},
	}
	// Like the nomad command, treat a value that is not a boolean as unset: the safe
	// side.
	o.TLS.SkipVerify, _ = strconv.ParseBool(getenv("NOMAD_SKIP_VERIFY"))

	if o.Address == "" {
		o.Address = getenv("NOMAD_UNIX_ADDR")
		if o.Address != "" && !strings.Contains(o.Address, "://") {
			o.Address = "unix://" + o.Address
		}
	}
	secrets := getenv("NOMAD_SECRETS_DIR")
	if secrets == "" {
		return o
	}
	if socket := filepath.Join(secrets, "api.sock"); o.Address == "" && exists(socket) {
		o.Address = "unix://" + socket
	}
	if file := filepath.Join(secrets, "nomad_token"); o.TokenFile == "" && exists(file) && (o.Token == "" || isIdentity(o.Token)) {
		o.TokenFile = file
	}
	return o
}

// isIdentity distinguishes a workload identity (a JWT) from an ACL token (a UUID).
func isIdentity(token string) bool { return strings.Count(token, ".") == 2 }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
