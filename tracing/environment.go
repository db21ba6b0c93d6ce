package tracing

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"serai/internal/boundedhttp"
	"serai/proxy"
)

// variables is the beginning of the names of OpenTelemetry's variables. Those for traces
// alone take precedence.
const variables = "OTEL_EXPORTER_OTLP_"

// maxTimeout bounds the variable for the time of one request, in milliseconds: an hour. No
// batch is tried for as long.
const maxTimeout = 3_600_000

// value returns what the environment says, and the name of the variable that says it.
func value(getenv func(string) string, name string) (v, from string) {
	for _, from := range []string{variables + "TRACES_" + name, variables + name} {
		if v := strings.TrimSpace(getenv(from)); v != "" {
			return v, from
		}
	}
	return "", ""
}

// environment is what serai itself takes of the variables.
type environment struct {
	tls     *tls.Config                    // nil for the system's roots
	roots   func() (*x509.CertPool, error) // nil for those of tls
	timeout time.Duration
}

// defaultTimeout is OpenTelemetry's, for one request.
const defaultTimeout = 10 * time.Second

// readEnvironment reads the variables, and reports everything that is wrong with them. The
// library, which reads the others, tells nobody, and goes on without.
func readEnvironment(o *Options) (read environment, _ error) {
	read.timeout = defaultTimeout
	var errs []error
	check := func(name string, check func(string) error) {
		v, from := value(o.Getenv, name)
		if v == "" {
			return
		}
		if err := check(v); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", from, err))
		}
	}
	if o.URL == "" {
		if v, _ := value(o.Getenv, "ENDPOINT"); v == "" {
			errs = append(errs, errors.New("neither OTEL_EXPORTER_OTLP_ENDPOINT nor OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set"))
		}
		check("ENDPOINT", func(v string) error { _, err := collectorURL(v); return err })
	}
	check("PROTOCOL", func(v string) error {
		if v != "http/protobuf" && v != "http/json" {
			return fmt.Errorf("serai does not speak %q: want http/protobuf or http/json, and the collector's port for them, usually 4318", v)
		}
		return nil
	})
	if o.Headers == nil {
		check("HEADERS", checkHeaders)
	}
	check("TIMEOUT", func(v string) error {
		ms, err := strconv.Atoi(v)
		if err != nil || ms <= 0 || ms > maxTimeout {
			return fmt.Errorf("%q is no number of milliseconds from 1 to %d", v, maxTimeout)
		}
		read.timeout = time.Duration(ms) * time.Millisecond
		return nil
	})
	check("COMPRESSION", func(v string) error {
		if v != "gzip" && v != "none" {
			return fmt.Errorf("%q is neither gzip nor none", v)
		}
		return nil
	})
	if o.TLS == nil {
		c := &tls.Config{}
		check("CERTIFICATE", func(file string) error {
			read.roots = func() (*x509.CertPool, error) { return boundedhttp.ReadRoots(file) }
			_, err := read.roots()
			read.tls = c
			return err
		})
		check("CLIENT_CERTIFICATE", func(certificate string) error {
			key, _ := value(o.Getenv, "CLIENT_KEY")
			_, err := tls.LoadX509KeyPair(certificate, key)
			boundedhttp.FreshCertificate(c, "the collector", certificate, key)
			read.tls = c
			return err
		})
	}
	return read, errors.Join(errs...)
}

// checkHeaders checks a list of NAME=VALUE. Its errors do not have the values, which are
// secrets.
func checkHeaders(list string) error {
	for i, element := range strings.Split(list, ",") {
		name, value, found := strings.Cut(element, "=")
		value, err := url.PathUnescape(value)
		if !found || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) || !httpguts.ValidHeaderFieldValue(strings.TrimSpace(value)) {
			return fmt.Errorf("element %d is not NAME=VALUE, without quotes, and with %%XX for special characters", i+1)
		}
	}
	return nil
}

// Sampler returns what OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say; the given values
// if they are not set.
func Sampler(getenv func(string) string, share float64, parents proxy.TraceParents) (float64, proxy.TraceParents, error) {
	name := strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER"))
	kind, based := strings.CutPrefix(name, "parentbased_")
	if !based && name != "" {
		parents = proxy.NoParents
	}
	switch kind {
	case "":
		if based {
			return 0, 0, fmt.Errorf("OTEL_TRACES_SAMPLER=%q is not known", name)
		}
		return share, parents, nil
	case "always_on":
		return 1, parents, nil
	case "always_off":
		return 0, parents, nil
	case "traceidratio":
		argument := cmp.Or(strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER_ARG")), "1")
		share, err := strconv.ParseFloat(argument, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return 0, 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%q is not between 0 and 1", argument)
		}
		return share, parents, nil
	}
	return 0, 0, fmt.Errorf("OTEL_TRACES_SAMPLER=%q is not one of always_on, always_off, traceidratio, or these with parentbased_ before them", name)
}
