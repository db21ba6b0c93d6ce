package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"serai/internal/history"
	"serai/router"
)

// serveCommand is `serai serve`: its flags.
type serveCommand struct {
	Config string `help:"HCL file: an attribute for each flag, and blocks such as namespace \"team-a\" { hosts = [\"*.a.example.org\"] }, share \"www.example.org\" { namespaces = [\"team-b\", \"team-c\"] } and policy \"lan\" { allow = [\"10.0.0.0/8\"] }, each attribute of a block with several on a line of its own, which are re-read when they change: docs/policies.md." placeholder:"FILE"`

	HTTP  string `name:"http" default:":80" help:"Address of the plain HTTP listener; empty for none." placeholder:"ADDR" group:"Listeners"`
	HTTPS string `name:"https" default:":443" help:"Address of the HTTPS listener, used when a certificate source is set; empty for none." placeholder:"ADDR" group:"Listeners"`
	Admin string `default:"127.0.0.1:8081" help:"Address of the admin listener: health, metrics, API and dashboard; empty for none. Whoever reaches it can read everything but secrets, unless --admin-token-file or --admin-client-ca-file is set." placeholder:"ADDR" group:"Listeners"`

	Metrics   string `help:"Address of a listener with /metrics and /health only, for a Prometheus on another machine; empty for none." placeholder:"ADDR" group:"Listeners"`
	ReusePort bool   `help:"Let another serai process listen on the same addresses and take over when this one stops (SO_REUSEPORT)." group:"Listeners"`

	sourceFlags
	Class            string   `help:"Ingress class of this serai: it serves only routes whose class tag is the same." placeholder:"NAME" group:"Discovery"`
	DefaultHost      string   `help:"Host for services whose tags name no host, such as {service}.example.org: {service}, {namespace}, {job}, {datacenter} and {source} stand for those of the instance. A service takes part with the tag enable=true, or any other tag with the prefix of --tag-prefix: docs/tags.md. Empty for none." placeholder:"TEMPLATE" group:"Discovery"`
	TagPrefix        string   `default:"ingress" help:"Prefix of the tags that serai reads." placeholder:"WORD" group:"Discovery"`
	StateDir         string   `help:"Directory for the last known services and certificates, so that serai can start while Nomad is unreachable; with --cert-store=file, also the certificate store." placeholder:"DIR" group:"Discovery"`
	UpstreamNetworks []cidr   `help:"Networks that instances may be in; when empty, all but loopback addresses in a cluster whose nodes have others. Metadata services, serai and Nomad themselves are never in them." placeholder:"CIDR,..." group:"Discovery"`
	Linger           duration `default:"60s" help:"How long a route is kept after its last instance has gone: requests wait for the next one (at most the route's wait)." group:"Discovery"`
	SharedHosts      bool     `help:"Let every namespace claim every host; otherwise a host belongs to the namespace that claimed it first." group:"Discovery"`
	Node             string   `help:"ID of the node that this serai runs on, for prefer=node: $${node.unique.id} in a job." placeholder:"ID" group:"Discovery"`
	Datacenter       string   `help:"Datacenter that this serai runs in, for prefer=datacenter; NOMAD_DC when empty." placeholder:"NAME" group:"Discovery"`

	TrustedProxies    []cidr   `help:"Networks of load balancers and proxies in front of serai: their X-Forwarded-For and X-Forwarded-Proto headers are trusted." placeholder:"CIDR,..." group:"Clients"`
	TrustedFields     []string `help:"Further headers that are passed on from --trusted-proxies, such as X-Forwarded-Host; without this they are replaced or removed, since many load balancers pass on what clients send: docs/forwarding.md." placeholder:"NAME,..." group:"Clients"`
	Via               string   `help:"Name of serai in the Via header of requests and responses; empty sends no Via, since some instances stop compressing when they see one." placeholder:"NAME" group:"Clients"`
	ProxyProtocolFrom []cidr   `help:"Networks of load balancers that may send a PROXY protocol header, v1 or v2." placeholder:"CIDR,..." group:"Clients"`
	AccessLog         string   `default:"off" help:"Access log with one line for each request: off, stdout or a file." placeholder:"off|stdout|FILE" group:"Clients"`
	AccessLogFormat   string   `default:"json" enum:"json,combined" help:"Format of the access log: json, which has everything, or combined, the format of Apache and nginx." placeholder:"json|combined" group:"Clients"`
	AccessLogSample   float64  `default:"1" help:"Share of the requests that are logged in the access log, from 0 to 1. Those that ended in a 5xx, or that serai answered itself or cut off, always are, except for --access-log-refused." group:"Clients"`
	AccessLogRefused  int      `default:"10" help:"Access log lines per second and route for requests that a policy refuses (rate, allow, deny, auth and the like), so that clients cannot flood the log. The next line says how many were left out, as not_logged. 0 for no limit." group:"Clients"`
	AccessLogQuery    string   `default:"on" enum:"on,off,redact" help:"Query string in the access log: all of it (on), nothing (off), or names without values (redact)." placeholder:"on|off|redact" group:"Clients"`
	AccessLogChecks   bool     `help:"Also log requests for --ready-path, which load balancers send all day." group:"Clients"`
	ReadyPath         string   `default:"/.serai/ready" help:"Path for health checks of load balancers: 200 if requests may be sent here, else 503; answered where Host is an address, missing, or not claimed by name." placeholder:"PATH" group:"Clients"`
	DrainDelay        duration `default:"10s" help:"When stopping: how long new requests are still accepted while --ready-path already fails." group:"Clients"`
	DrainTimeout      duration `default:"20s" help:"When stopping, after --drain-delay: how long requests in flight may take before they are cut off." group:"Clients"`

	CertDir       string     `help:"Directory of certificates, as pairs NAME.crt and NAME.key; the pair called default is used for all other names." placeholder:"DIR" group:"HTTPS"`
	HTTPSOnly     bool       `name:"https-only" help:"Redirect plain HTTP of every route to https (308, or its redirect-status), except those with tls=off or a redirect of their own." group:"HTTPS"`
	TLSMinVersion string     `name:"tls-min-version" default:"1.2" enum:"1.2,1.3" help:"Oldest TLS version that clients may use." placeholder:"1.2|1.3" group:"HTTPS"`
	ACMEEmail     string     `name:"acme-email" help:"Turns on automatic certificates (ACME) for the hosts of all routes without tls=off; the address is the contact of the account at the CA." placeholder:"ADDRESS" group:"HTTPS"`
	ACMEDirectory string     `name:"acme-directory" help:"The CA's ACME directory; Let's Encrypt's when empty." placeholder:"URL" group:"HTTPS"`
	ACMECARoot    string     `name:"acme-ca-root" help:"PEM file of the roots that verify the ACME server's own certificate; the system's when empty." placeholder:"FILE" group:"HTTPS"`
	ACMEEngine    string     `name:"acme-engine" default:"certmagic" enum:"certmagic,autocert" help:"ACME client: certmagic, for one node or a cluster, or autocert, for one node." placeholder:"certmagic|autocert" group:"HTTPS"`
	ACMEHosts     []string   `name:"acme-hosts" help:"Hosts that certificates may be ordered for: names, *.NAME for all below it; all when empty." placeholder:"PATTERN,..." group:"HTTPS"`
	ACMEPeers     string     `name:"acme-peers" default:"serai" help:"Nomad service that all serai are registered as, in serai's namespace: before an order each of them must answer a validation. Empty asks none." placeholder:"SERVICE" group:"HTTPS"`
	ACMEPeersWait duration   `name:"acme-peers-wait" default:"5m" help:"How long orders wait for a serai that does not answer validations, counted from when one last answered, started or stopped; at most 24 times as long in all." group:"HTTPS"`
	ACMELimits    limitFlags `embed:""`

	ACMEEABKeyID string `name:"acme-eab-key-id" help:"Key ID of an external account at the CA (EAB)." placeholder:"ID" group:"HTTPS"`
	ACMEEABFile  string `name:"acme-eab-key-file" help:"File of the MAC key for --acme-eab-key-id, base64url." placeholder:"FILE" group:"HTTPS"`
	CertStore    string `enum:",nomad,file" default:"" help:"Where certificates from ACME and TLS session ticket keys are stored: nomad (Nomad Variables, shared by all nodes), which is the default in a Nomad task, or file (--state-dir)." placeholder:"nomad|file" group:"HTTPS"`
	CertKeyFile  string `help:"File of a secret that encrypts private keys in the store, the same on all nodes." placeholder:"FILE" group:"HTTPS"`

	ProbeRate        int      `default:"2000" help:"Probes per second of instances that are not ready, all together; the first probe of each does not count." group:"Instances"`
	Probes           int      `default:"256" help:"Concurrent probes; as many again for instances that requests wait for, and four times as many that take longer than 100ms; fewer if an eighth of the connections to instances is less. Namespaces and jobs have equal shares: those with more make room." group:"Instances"`
	JobProbeRate     int      `default:"500" help:"Probes per second of the instances of one job, including checks; the first probe of each does not count." group:"Instances"`
	MinCheckInterval duration `default:"1s" help:"Shortest pause after a good check, whatever check-interval says; 0 for none." group:"Instances"`
	MaxCheckTime     duration `default:"1m" help:"Longest time that a check may take, whatever check-timeout says." group:"Instances"`
	EjectAfter       int      `default:"5" help:"Failures in a row (responses that were cut off, malformed, too late or missing) after which an instance is ejected: it gets no requests for --eject-time; 0 for never." group:"Instances"`
	EjectShare       float64  `default:"0" help:"Share of 5xx among an instance's responses, such as 0.5, above which it is ejected; 0 for never." group:"Instances"`
	EjectTime        duration `default:"10s" help:"How long an instance is ejected at first; twice as long each time it happens again soon." group:"Instances"`
	SlowStart        duration `default:"10s" help:"Time in which an instance that became ready goes from few requests to its full share; 0 for at once." group:"Instances"`
	Splice           bool     `help:"Move bodies of a MiB and more within the kernel (splice) where both sides are plain TCP. Slower than copying over the loopback; may be faster with real network cards." group:"Instances"`
	StickyKeyFile    string   `help:"File of a secret for sticky cookies, the same on all nodes; without it they are made only from the random IDs of allocations." placeholder:"FILE" group:"Instances"`

	Trace traceFlags `embed:""`

	LogLevel  logLevel `default:"INFO" help:"Level of serai's own log: DEBUG, INFO, WARN or ERROR. While serai runs, SIGUSR1 switches to DEBUG and back, and serai log-level sets any." placeholder:"LEVEL" group:"Log"`
	LogFormat string   `default:"text" enum:"text,json" help:"Format of serai's own log on standard error: text or json." group:"Log"`

	Memory      int64    `default:"0" help:"Memory that serai may use, in MiB; 0 means GOMEMLIMIT, or nine tenths of what Nomad or the control group gives it. Three fifths are for clients: connections, requests and their bodies; 503 beyond." placeholder:"MIB" group:"Limits"`
	MaxHead     int      `default:"65536" help:"Bytes of the head (start line and headers) of a request, 431 beyond, or of a response, 502 beyond." group:"Limits"`
	MaxFields   int      `default:"128" help:"Headers of one request or response." group:"Limits"`
	MaxTarget   int      `default:"16384" help:"Bytes of a request target; 414 beyond." group:"Limits"`
	MaxInterim  int      `default:"64" help:"1xx responses of an instance before the final one; 502 beyond." group:"Limits"`
	HeadTimeout duration `default:"10s" help:"Timeout for receiving a request head, from its first byte; 408 beyond." group:"Limits"`
	BodyIdle    duration `default:"30s" help:"Timeout of each wait for more of a request's body; 408 beyond." group:"Limits"`
	MinRate     int      `default:"100" help:"Minimum bytes per second that a client must send of a request's body, on average over --body-idle; 408 below. Applies to a body of unknown length only while other requests wait, and to none once its response has begun; 0 for no minimum." group:"Limits"`
	KeepAlive   duration `default:"75s" help:"Timeout of idle client connections: the wait for the next request." group:"Limits"`
	WriteIdle   duration `default:"30s" help:"Timeout of each wait until a client or instance reads more (up to 64 KiB of a response at once), so that slow readers do not hold an instance." group:"Limits"`
	TunnelIdle  duration `default:"1h" help:"Idle timeout of upgraded connections (WebSockets), and of HTTP/2 requests whose response has begun." group:"Limits"`

	HTTP2 string     `name:"http2" default:"on" enum:"on,off" help:"Offer HTTP/2 to clients over TLS." placeholder:"on|off" group:"Listeners"`
	H2C   string     `name:"h2c" default:"on" enum:"on,off" help:"Accept HTTP/2 without TLS (h2c, prior knowledge) on the plain HTTP listener, as load balancers use it." placeholder:"on|off" group:"Listeners"`
	Over2 http2Flags `embed:""`

	MaxConnections          int      `default:"0" help:"Client connections of each listener; 0 means half of the file descriptors, or three quarters of that where there are two listeners." group:"Limits"`
	MaxConnectionsPerClient int      `default:"0" help:"Connections of one client address (IPv6: /64); 0 means no limit." group:"Limits"`
	MaxHandshakes           int      `default:"2048" help:"Concurrent TLS handshakes on a listener; beyond, one that takes longer than two seconds is cut off, or the new one is refused. 0 means no limit." group:"Limits"`
	MaxWaiting              int      `default:"1000" help:"Requests of one route that may wait for an instance; 503 beyond." group:"Limits"`
	MaxWaitingBytes         int64    `default:"67108864" help:"Bytes that all requests that wait for an instance hold together, at most an eighth of the memory; 503 beyond. Each namespace, and each route of it, has an equal share: who has more makes room." group:"Limits"`
	ConnectTimeout          duration `default:"2s" help:"Timeout for connecting to an instance." group:"Limits"`
	UpstreamIdle            duration `default:"4s" help:"How long an idle connection to an instance is kept. HTTP/1: for requests that must not be repeated, such as POST." group:"Limits"`
	UpstreamIdleRepeatable  duration `default:"0s" help:"How long an idle HTTP/1 connection to an instance is kept for requests that may be repeated, such as GET; a shorter time than --upstream-idle counts as that. 0s: 60s, or the value of --upstream-idle if that is not 4s." group:"Limits"`
	UpstreamMaxIdle         int      `default:"2048" help:"Idle connections kept to one instance." group:"Limits"`
	UpstreamMaxStreams      int      `default:"100" help:"Concurrent requests on one HTTP/2 connection to an instance, or fewer where the instance allows less; those beyond use another connection." group:"Limits"`
	RetryShare              float64  `default:"0.2" help:"Retry budget: retries in flight as a share of a route's requests in flight; 3 are always allowed, and those that an instance had when it died." group:"Limits"`
	MaxHops                 int      `default:"8" help:"How often a request may pass through serai; beyond, it is a loop and is answered 508." group:"Limits"`
	RateKeys                int      `default:"1048576" help:"Clients (or other keys of rate-by) that the rate limits of all routes remember together, 16 bytes each; a quarter of them for one route. At most a sixteenth of the memory." group:"Limits"`
	TokenCache              int64    `default:"8388608" help:"Bytes of the cache of verified tokens (jwt auths), which are not verified again until they expire; at most a 64th of the memory. 0 for none." group:"Limits"`
	MaxCompressionBytes     int64    `default:"67108864" help:"Bytes of memory for compressing responses (compress), at most an eighth of the memory: up to 0.85 MiB for each response, or 40 KiB once three quarters are used, with gzip only. Responses beyond are sent uncompressed. One client may use as much as is left." group:"Limits"`

	MetricsRoutes int `default:"20000" help:"Routes with time series of their own at /metrics, of those that were called; the rest share those of their namespace. A namespace has at most three quarters of them." group:"Limits"`

	ErrorPages errorPageFlags `embed:""`
	Policies   policyFlags    `embed:""`

	Quotas quotaFlags `embed:""`

	AdminFlags adminFlags `embed:""`

	flags  []string       // their names
	asking []string       // those of commands that ask a serai
	from   origins        // of flags that the command line did not give
	level  *slog.LevelVar // of the log, as it is now; made by logger
	// file is the config file, zero without one; readAgain, nil without one, reads it
	// again, with all checks that a start makes of it.
	file      configFile
	readAgain func(last *configFile) (*configFile, error)
}

// Help is what the help says below the summary.
func (serveCommand) Help() string {
	return "What most operators set first: --acme-email for certificates and HTTPS; --trusted-proxies behind a load balancer; --access-log; --namespaces; --state-dir, so that serai can start while Nomad is unreachable. " +
		"Where Nomad is, and the token, are read from NOMAD_ADDR and NOMAD_TOKEN or NOMAD_TOKEN_FILE; a Nomad task with an identity needs neither. serai check tries settings without serving.\n\n" +
		"Each flag can also be set by an environment variable, SERAI_ and its name in upper case with _ for -, and in the config file by its name with _ for -: " +
		"--max-head is SERAI_MAX_HEAD and max_head. The command line overrides the environment, which overrides the config file. " +
		"SIGTERM stops serai after a drain; SIGHUP reopens the access log and reads the config file again; SIGUSR1 switches the log level to DEBUG and back."
}

// Run runs the ingress until it is told to stop and has drained.
func (c *serveCommand) Run(ctx context.Context, env *environment) error {
	if err := c.validate(); err != nil {
		return &usageError{err}
	}
	limit := memoryLimit(c.Memory, env.getenv)
	boundMemory(limit)
	collectLess(ctx, limit)
	stderr := env.stderr
	log := newLogWriter(stderr, func(lost uint64) {
		c.logger(stderr).Error("standard error was read too slowly: lines of this log were lost", "lines", lost)
	})
	defer log.close()
	env = &environment{getenv: env.getenv, stdout: env.stdout, stderr: log}
	logger := history.Logger(c.logger(log), history.NewRing(c.AdminFlags.MaxEvents))
	s, err := orStopped(ctx, "read its files", func() (*system, error) {
		c.tellStart(env, logger) // which reads Nomad's certificates
		return newSystem(c, env, limit, logger)
	})
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// validate reports what no part would find by itself.
func (c *serveCommand) validate() error {
	var errs []error
	errs = append(errs, c.validateCertificates()...)
	if c.HTTP == "" && (c.HTTPS == "" || !c.hasCertificates()) {
		errs = append(errs, errors.New("no listener: set --http, or --https and --cert-dir or --acme-email"))
	}
	if c.NoNomad && c.Services == "" && !c.Consul.given {
		errs = append(errs, errors.New("--no-nomad without --services and --consul leaves nothing to route to"))
	}
	if !c.Consul.given {
		for _, f := range []struct {
			name  string
			given bool
		}{{"consul-address", c.ConsulAddress != ""}, {"consul-datacenter", c.ConsulDatacenter != ""}, {"consul-warning", c.ConsulWarning}} {
			if f.given {
				errs = append(errs, fmt.Errorf("--%s without --consul has no effect", f.name))
			}
		}
	}
	if c.ConsulWatches < 1 {
		errs = append(errs, fmt.Errorf("--consul-watches=%d is not at least 1", c.ConsulWatches))
	}
	if err := router.CheckDefaultHost(c.DefaultHost); err != nil {
		errs = append(errs, fmt.Errorf("--default-host=%q: %w", c.DefaultHost, err))
	}
	if len(c.Namespaces) == 0 {
		errs = append(errs, errors.New("--namespaces names none: leave it out to watch all"))
	}
	if paths := c.file.named.variables(); c.NoNomad && len(paths) > 0 {
		errs = append(errs, fmt.Errorf("--no-nomad: auths of the config file have secrets in Nomad's variables: %s", strings.Join(paths, ", ")))
	}
	if c.AccessLogRefused < 0 {
		errs = append(errs, fmt.Errorf("--access-log-refused=%d is negative", c.AccessLogRefused))
	}
	errs = append(errs, c.validateShares(), c.Quotas.validate(), c.Over2.validate(), c.ErrorPages.validate(), c.Policies.validate(), c.Trace.validate(), c.validateAdmin())
	for _, f := range []struct {
		name  string
		value int
	}{{"probe-rate", c.ProbeRate}, {"probes", c.Probes}, {"job-probe-rate", c.JobProbeRate}} {
		if f.value < 1 {
			errs = append(errs, fmt.Errorf("--%s=%d is not at least 1", f.name, f.value))
		}
	}
	if c.MaxCheckTime <= 0 {
		errs = append(errs, errors.New("--max-check-time wants more than 0"))
	}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"max-connections", c.MaxConnections}, {"max-connections-per-client", c.MaxConnectionsPerClient}, {"max-handshakes", c.MaxHandshakes},
		{"min-rate", c.MinRate}, {"max-waiting", c.MaxWaiting}, {"max-interim", c.MaxInterim}, {"eject-after", c.EjectAfter}, {"upstream-max-idle", c.UpstreamMaxIdle}, {"upstream-max-streams", c.UpstreamMaxStreams},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("--%s=%d is negative", f.name, f.value))
		}
	}
	if c.Memory < 0 || c.Memory > 0 && c.Memory < 32 {
		errs = append(errs, fmt.Errorf("--memory=%d is not 0, and less than 32 MiB", c.Memory))
	}
	if c.Memory > maxMemory {
		errs = append(errs, fmt.Errorf("--memory=%d is more than %d MiB; want a number of MiB", c.Memory, maxMemory))
	}
	if c.MaxWaitingBytes < 1 {
		errs = append(errs, fmt.Errorf("--max-waiting-bytes=%d is not at least 1", c.MaxWaitingBytes))
	}
	if c.MaxCompressionBytes < 1 {
		errs = append(errs, fmt.Errorf("--max-compression-bytes=%d is not at least 1", c.MaxCompressionBytes))
	}
	if c.MaxHops < 1 {
		errs = append(errs, fmt.Errorf("--max-hops=%d is not at least 1", c.MaxHops))
	}
	if c.TokenCache < 0 {
		errs = append(errs, fmt.Errorf("--token-cache=%d is negative", c.TokenCache))
	}
	if c.RateKeys < 1 {
		errs = append(errs, fmt.Errorf("--rate-keys=%d is not at least 1", c.RateKeys))
	}
	if c.MetricsRoutes < 1 {
		errs = append(errs, fmt.Errorf("--metrics-routes=%d is not at least 1", c.MetricsRoutes))
	}
	if c.MaxFields < 1 || c.MaxTarget < 1 || c.MaxHead < 1 {
		errs = append(errs, errors.New("--max-head, --max-fields and --max-target want at least 1"))
	}
	return errors.Join(errs...)
}

// logger makes the log. Durations are text in both formats: JSON would have
// them as a number of nanoseconds.
func (c *serveCommand) logger(to io.Writer) *slog.Logger {
	if c.level == nil {
		c.level = new(slog.LevelVar)
		c.level.Set(slog.Level(c.LogLevel))
	}
	o := &slog.HandlerOptions{Level: c.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, o))
	}
	return slog.New(slog.NewTextHandler(to, o))
}
