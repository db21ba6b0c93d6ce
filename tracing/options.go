package tracing

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Options are the options of an Exporter. What they leave open, the variables
// OTEL_EXPORTER_OTLP_* say, as OpenTelemetry defines them.
type Options struct {
	// URL is the collector's, such as http://127.0.0.1:4318; without a path it is
	// completed with /v1/traces. If it is empty, the environment has it.
	URL string
	// Headers are sent with each message; nil leaves them to the environment.
	Headers map[string]string
	// TLS is how a collector with https is reached; nil leaves it to the environment.
	TLS *tls.Config
	// Roots reads the roots that verify the collector, for each connection; nil takes those of
	// TLS. It is used with TLS only.
	Roots func() (*x509.CertPool, error)
	// Memory bounds the bytes of what waits for the collector, 4 MiB if zero.
	Memory int64
	// Version of serai. Node and Instance are the node and the allocation that it runs on and
	// as; empty for nothing.
	Version, Node, Instance string
	// Getenv reads the environment. Required.
	Getenv func(string) string
	// Logger gets what the collector refuses, at most once a minute. Required.
	Logger *slog.Logger
	// Panicked is called for each batch of traces that made serai panic, to count it; nil for
	// nothing.
	Panicked func()
}

// defaultMemory is the default of Options.Memory.
const defaultMemory = 4 << 20

// client makes the library's client, and its way to the collector.
func (o *Options) client() (otlptrace.Client, *collector, error) {
	o.Memory = cmp.Or(o.Memory, defaultMemory)
	read, err := readEnvironment(o)
	if err != nil {
		return nil, nil, err
	}
	if o.TLS != nil {
		read.tls, read.roots = o.TLS, o.Roots
	}
	to, err := newCollector(read.tls, read.roots, read.timeout, o.Logger)
	if err != nil {
		return nil, nil, err
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithHTTPClient(to.client()),
		// Retries are few: what waits for them takes the place of newer traces.
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: time.Second, MaxInterval: 4 * time.Second, MaxElapsedTime: exportTime / 2,
		}),
	}
	// Which variables of the endpoint are set has been checked.
	if v, from := value(o.Getenv, "ENDPOINT"); o.URL == "" && strings.Contains(from, "_TRACES_") {
		options = append(options, otlptracehttp.WithEndpointURL(v))
	} else if o.URL == "" {
		options = append(options, otlptracehttp.WithEndpointURL(strings.TrimSuffix(v, "/")+"/v1/traces"))
	} else {
		u, err := collectorURL(o.URL)
		if err != nil {
			return nil, nil, err
		}
		if u.Scheme == "http" && o.TLS != nil {
			return nil, nil, errors.New("the URL begins with http, and certificates are given: want https")
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.String()))
	}
	if o.Headers != nil {
		options = append(options, otlptracehttp.WithHeaders(o.Headers))
	}
	client := otlptracehttp.NewClient(options...)
	// It connects to nothing, but finds what does not fit together.
	return client, to, client.Start(context.Background())
}

// resource says who sends the spans. What the environment says comes last, and wins.
func (o *Options) resource() (*resource.Resource, error) {
	about := []attribute.KeyValue{semconv.ServiceName("serai"), semconv.ServiceVersion(o.Version)}
	if o.Node != "" {
		about = append(about, semconv.HostID(valid(o.Node)))
	}
	if o.Instance != "" {
		about = append(about, semconv.ServiceInstanceID(valid(o.Instance)))
	}
	r, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(about...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return r, nil
}

// collectorURL reads the URL of a collector.
func collectorURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("this is no URL: want http://HOST:4318") // the error may have a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%q is no URL of a collector: want http://HOST:4318 or https://HOST:4318", u.Redacted())
	case u.User != nil:
		return nil, errors.New("the URL has a name or a password: put them into a header")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the URL has a query or a fragment: want http://HOST:4318")
	}
	return u, nil
}
