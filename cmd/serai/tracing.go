package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/textproto"
	"os"
	"strings"

	"golang.org/x/net/http/httpguts"

	"serai/internal/boundedhttp"
	"serai/proxy"
	"serai/tracing"
)

// traceFlags are the flags of tracing.
type traceFlags struct {
	OTLP         string  `name:"otlp" help:"Collector that traces of requests are sent to, with OTLP over HTTP (http/protobuf), such as http://127.0.0.1:4318; env takes it from OTEL_EXPORTER_OTLP_ENDPOINT. Empty turns tracing off: docs/observability." placeholder:"URL|env" group:"Tracing"`
	Headers      string  `name:"otlp-headers-file" help:"File of headers for the collector, such as an API key, one NAME: VALUE per line; OTEL_EXPORTER_OTLP_HEADERS when empty." placeholder:"FILE" group:"Tracing"`
	CA           string  `name:"otlp-ca-file" help:"PEM file of the roots that verify the collector; OTEL_EXPORTER_OTLP_CERTIFICATE, or the system's, when empty." placeholder:"FILE" group:"Tracing"`
	Cert         string  `name:"otlp-cert-file" help:"PEM file of serai's own certificate for the collector; OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _KEY, or none, when empty." placeholder:"FILE" group:"Tracing"`
	Key          string  `name:"otlp-key-file" help:"PEM file of the private key for --otlp-cert-file." placeholder:"FILE" group:"Tracing"`
	TraceShare   float64 `default:"0.01" help:"Share of the requests that are traced, from 0 to 1, unless a traceparent header decides (--trace-parents). With --otlp=env, OTEL_TRACES_SAMPLER takes precedence." group:"Tracing"`
	TraceParents string  `default:"trusted" enum:"trusted,all,none" help:"Whose traceparent header decides whether a request is traced: that of --trusted-proxies, of all clients, or of none. Any valid one is continued." placeholder:"trusted|all|none" group:"Tracing"`
	TraceErrors  int     `default:"100" help:"Failed requests (5xx, or cut off) per second that are traced in addition to --trace-share; 0 for none." group:"Tracing"`
	TraceMemory  int64   `default:"4194304" help:"Bytes of traces that wait to be sent to the collector; at most a 64th of the memory. Traces beyond are lost; no request waits." group:"Tracing"`
}

// parents are the words of --trace-parents.
var parents = map[string]proxy.TraceParents{"trusted": proxy.TrustedParents, "all": proxy.AllParents, "none": proxy.NoParents}

// validate reports all that is wrong with the flags.
func (f *traceFlags) validate() error {
	var errs []error
	if !(f.TraceShare >= 0 && f.TraceShare <= 1) {
		errs = append(errs, fmt.Errorf("--trace-share=%v is not between 0 and 1", f.TraceShare))
	}
	if f.TraceErrors < 0 {
		errs = append(errs, fmt.Errorf("--trace-errors=%d is negative", f.TraceErrors))
	}
	if f.TraceMemory < 1 {
		errs = append(errs, fmt.Errorf("--trace-memory=%d is not at least 1", f.TraceMemory))
	}
	if (f.Cert == "") != (f.Key == "") {
		errs = append(errs, errors.New("--otlp-cert-file and --otlp-key-file must be set together"))
	}
	for _, file := range []struct{ name, path string }{
		{"otlp-headers-file", f.Headers}, {"otlp-ca-file", f.CA}, {"otlp-cert-file", f.Cert},
	} {
		if file.path != "" && f.OTLP == "" {
			errs = append(errs, fmt.Errorf("--%s has no effect without --otlp", file.name))
		}
	}
	return errors.Join(errs...)
}

// makeTracing makes what gets traces; nothing without --otlp.
func (s *system) makeTracing() error {
	f := &s.Trace
	if f.OTLP == "" || strings.EqualFold(s.env.getenv("OTEL_SDK_DISABLED"), "true") {
		return nil
	}
	o := tracing.Options{URL: f.OTLP, Memory: f.TraceMemory, Version: version(), Node: s.Node, Instance: s.env.getenv("NOMAD_ALLOC_ID"), Getenv: s.env.getenv, Logger: s.logger,
		Panicked: func() { s.proxy.Count(proxy.ReasonPanic) }}
	if s.limit > 0 {
		o.Memory = min(o.Memory, s.limit/64)
	}
	share, believed, err := f.TraceShare, parents[f.TraceParents], error(nil)
	if o.URL == "env" {
		o.URL = ""
		if share, believed, err = tracing.Sampler(s.env.getenv, share, believed); err != nil {
			return err
		}
	}
	if o.Headers, err = readFields("otlp-headers-file", f.Headers); err != nil {
		return err
	}
	if o.TLS, err = f.tls(); err != nil {
		return err
	}
	if f.CA != "" {
		o.Roots = func() (*x509.CertPool, error) { return boundedhttp.ReadRoots(f.CA) }
	}
	if s.traces, err = tracing.NewExporter(o); err != nil {
		return fmt.Errorf("--otlp: %w", err)
	}
	s.tracing = &proxy.Tracing{Share: share, Parents: believed, Errors: f.TraceErrors, Record: s.traces.Record}
	return nil
}

// tls is how the flags have a collector reached; nil when they do not say.
func (f *traceFlags) tls() (*tls.Config, error) {
	if f.CA == "" && f.Cert == "" {
		return nil, nil
	}
	return clientTLS(fileFlag{"otlp-ca-file", f.CA}, fileFlag{"otlp-cert-file", f.Cert}, fileFlag{"otlp-key-file", f.Key})
}

// readFields reads a file of fields, nil when none is named. Its errors do not have the
// values, which may be secrets.
func readFields(flag, path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flag, path, err)
	}
	fields, number := make(map[string]string), 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		name, value, found := bytes.Cut(line, []byte{':'})
		v := textproto.TrimString(string(value))
		if !found || !httpguts.ValidHeaderFieldName(string(name)) || !httpguts.ValidHeaderFieldValue(v) {
			return nil, fmt.Errorf("--%s=%s: line %d is not NAME: VALUE", flag, path, number)
		}
		fields[string(name)] = v
	}
	return fields, nil
}

// traceStatus is what became of traces.
func (s *system) traceStatus() tracing.Status {
	status := s.traces.Status()
	status.ErrorsLeft = s.tracing.ErrorsLeft()
	return status
}
