package tracing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serai/proxy"
	"serai/tracing"
)

// write writes a file of the test, in PEM.
func write(t *testing.T, kind string, bytes []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pair is a certificate and its key, in files.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "CERTIFICATE", der), write(t, "PRIVATE KEY", pkcs8)
}

// setenv sets variables for the library, which reads them itself, and for serai.
func setenv(t *testing.T, variables map[string]string) func(string) string {
	for name, value := range variables {
		t.Setenv(name, value)
	}
	return func(name string) string { return variables[name] }
}

// TestReached: traces arrive by each way that the environment can ask for.
func TestReached(t *testing.T) {
	certificate, key := pair(t)
	for name, test := range map[string]struct {
		secure    bool
		client    tls.ClientAuthType
		variables map[string]string
		url       string // relative to the collector
		fails     string
		kind      string // of the messages
		field     string // that comes with them
	}{
		"plain":            {kind: "application/x-protobuf"},
		"compressed":       {variables: map[string]string{"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, kind: "application/x-protobuf"},
		"protobuf":         {variables: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, kind: "application/x-protobuf"},
		"JSON":             {variables: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, kind: "application/json"},
		"a key":            {variables: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b"}, kind: "application/x-protobuf", field: "a b"},
		"TLS":              {secure: true, variables: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "ROOTS"}, kind: "application/x-protobuf"},
		"TLS on both ends": {secure: true, client: tls.RequireAnyClientCert, variables: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "ROOTS", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY": key}, kind: "application/x-protobuf"},
		// The refusal of TLS 1.3 may come as an alert, or as a connection that has ended.
		"no client":   {secure: true, client: tls.RequireAnyClientCert, variables: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "ROOTS"}, fails: "does not take traces"},
		"no roots":    {secure: true, fails: "certificate signed by unknown authority"},
		"other roots": {secure: true, variables: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": certificate}, fails: "certificate signed by unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &receiver{}
			server := httptest.NewUnstartedServer(c)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			if server.Start(); test.secure {
				server.Close()
				server = httptest.NewUnstartedServer(c)
				server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
				server.TLS = &tls.Config{ClientAuth: test.client}
				server.StartTLS()
			}
			t.Cleanup(server.Close)
			if test.variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] == "ROOTS" {
				test.variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = write(t, "CERTIFICATE", server.Certificate().Raw)
			}
			e := run(t, tracing.Options{URL: server.URL, Getenv: setenv(t, test.variables)})
			e.Record(newTrace(1))
			s := e.settled(t, spansOfTrace)
			e.stop()
			if test.fails != "" {
				if text := e.log.text(); s.Failed != spansOfTrace || !strings.Contains(text, test.fails) {
					t.Errorf("counted %+v, logged %s", s, text)
				}
				return
			}
			spans, _ := c.got()
			if s.Exported != spansOfTrace || len(spans) != spansOfTrace || c.head.Get("Content-Type") != test.kind || c.head.Get("X-Key") != test.field {
				t.Errorf("counted %+v, got %d spans with %v: %s", s, len(spans), c.head, e.log.text())
			}
		})
	}
}

// TestEnvironment: what is wrong with the variables is told before anything runs, also where
// the flag has the URL, and the values of fields never.
func TestEnvironment(t *testing.T) {
	certificate, key := pair(t)
	const url = "http://127.0.0.1:4318"
	for name, test := range map[string]struct {
		url       string
		variables map[string]string
		want      []string // of the error; none for no error
	}{
		"nothing":           {url, nil, nil},
		"gRPC":              {url, map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, []string{"OTEL_EXPORTER_OTLP_PROTOCOL: ", `"grpc"`, "http/protobuf"}},
		"gRPC for traces":   {url, map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "}},
		"gRPC, but not for": {url, map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, nil},
		"no protocol":       {url, map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": " "}, nil},
		"gRPC from env":     {"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, []string{"OTEL_EXPORTER_OTLP_PROTOCOL: "}},
		"no endpoint":       {"", nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT"}},
		"odd endpoint":      {"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT: "}},
		"several":           {url, map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "10s", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT: ", "OTEL_EXPORTER_OTLP_COMPRESSION: "}},
		"no time":           {url, map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT: "}},
		"much time":         {url, map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "9223372036854775807"}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT: "}},
		"fields":            {url, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=hunter2,hunter2"}, []string{"OTEL_EXPORTER_OTLP_HEADERS: element 2"}},
		"a field's name":    {url, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": `a=1,"authorization=hunter2"`}, []string{"OTEL_EXPORTER_OTLP_HEADERS: element 2"}},
		"a field's value":   {url, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2%0ahunter2"}, []string{"OTEL_EXPORTER_OTLP_HEADERS: element 1"}},
		"blanks around":     {url, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": " a = 1 , b= 2%20%0a"}, nil},
		"no file":           {"https://c", map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nonexistent"}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE: "}},
		"no certificate":    {"https://c", map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": key}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE: "}},
		"no key":            {"https://c", map[string]string{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": certificate}, []string{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: "}},
		"a URL with a key":  {"http://u:hunter2@c", nil, []string{"put them into a header"}},
		"a URL of gRPC":     {"grpc://c:4317", nil, []string{"want http://HOST:4318"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tracing.NewExporter(tracing.Options{URL: test.url, Getenv: setenv(t, test.variables), Logger: slog.New(slog.DiscardHandler)})
			if (err != nil) != (len(test.want) > 0) {
				t.Fatalf("says %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("says %v, want %s", err, want)
				}
			}
		})
	}
}

// TestSampler reads the variables for which requests are traced.
func TestSampler(t *testing.T) {
	for _, test := range []struct {
		name, argument string
		share          float64
		parents        proxy.TraceParents
		wrong          bool
	}{
		{"", "0.7", 0.01, proxy.AllParents, false}, // the argument of no sampler
		{"always_on", "", 1, proxy.NoParents, false},
		{"always_off", "", 0, proxy.NoParents, false},
		{"traceidratio", "0.25", 0.25, proxy.NoParents, false},
		{"traceidratio", "", 1, proxy.NoParents, false},
		{"parentbased_always_on", "", 1, proxy.AllParents, false},
		{"parentbased_always_off", "", 0, proxy.AllParents, false},
		{" parentbased_traceidratio ", " 1e-3 ", 0.001, proxy.AllParents, false},
		{"traceidratio", "2", 0, 0, true},
		{"traceidratio", "-0.1", 0, 0, true},
		{"traceidratio", "NaN", 0, 0, true},
		{"traceidratio", "1 %", 0, 0, true},
		{"parentbased_", "", 0, 0, true},
		{"jaeger_remote", "", 0, 0, true},
		{"parentbased_jaeger_remote", "", 0, 0, true},
	} {
		share, parents, err := tracing.Sampler(func(name string) string {
			return map[string]string{"OTEL_TRACES_SAMPLER": test.name, "OTEL_TRACES_SAMPLER_ARG": test.argument}[name]
		}, 0.01, proxy.AllParents)
		if share != test.share || parents != test.parents || (err != nil) != test.wrong {
			t.Errorf("%q with %q: %v, %v, %v", test.name, test.argument, share, parents, err)
		}
	}
}
