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
	Config string `help:"HCL file: an attribute for each flag, and blocks such as namespace \"NAME\" { hosts = [...], policies = [...] }, share \"HOST\" { namespaces = [...] } and policy \"NAME\" { ... }, which are re-read when they change: docs/policies.md." placeholder:"FILE"`

	HTTP  string `name:"http" default:":80" help:"Address of the plain HTTP listener; empty for none." placeholder:"ADDR" group:"Listeners"`
	HTTPS string `name:"https" default:":443" help:"Address of the HTTPS listener, used when a certificate source is set; empty for none." placeholder:"ADDR" group:"Listeners"`
	Admin string `default:"127.0.0.1:8081" help:"Address of health, metrics and the rest; empty for none. Whoever reaches it reads everything but secrets, unless --admin-token-file or --admin-client-ca-file asks who they are." placeholder:"ADDR" group:"Listeners"`

	Metrics   string `help:"Address of a listener for /metrics and /health alone, which a Prometheus elsewhere may scrape; empty for none." placeholder:"ADDR" group:"Listeners"`
	ReusePort bool   `help:"Let another serai listen on the same addresses, which takes over when this one stops (SO_REUSEPORT)." group:"Listeners"`

	sourceFlags
	Class            string   `help:"Ingress class: only routes whose class tag is the same are served." placeholder:"NAME" group:"Discovery"`
	DefaultHost      string   `help:"Host of services whose tags name none, such as {service}.example.org: {service}, {namespace}, {job}, {datacenter} and {source} stand for those of the instance. A service takes part with the tag enable=true, or with any other tag of ours; docs/tags.md. Empty for none." placeholder:"TEMPLATE" group:"Discovery"`
	TagPrefix        string   `default:"ingress" help:"What our tags begin with." placeholder:"WORD" group:"Discovery"`
	StateDir         string   `help:"Directory where the last known services and certificates are kept, for a start while Nomad is away; with --cert-store=file, all that belongs to certificates." placeholder:"DIR" group:"Discovery"`
	UpstreamNetworks []cidr   `help:"Networks that instances may be in; when empty, all but loopback addresses in a cluster whose nodes have others. Metadata services, serai and Nomad themselves are never in them." placeholder:"CIDR,..." group:"Discovery"`
	Linger           duration `default:"60s" help:"How long a route whose last instance has gone makes requests wait for the next one." group:"Discovery"`
	SharedHosts      bool     `help:"Let every namespace claim every host, as before a host was of the namespace that claimed it first." group:"Discovery"`
	Node             string   `help:"ID of the node that this serai runs on, for prefer=node: $${node.unique.id} in a job." placeholder:"ID" group:"Discovery"`
	Datacenter       string   `help:"Datacenter that this serai runs in, for prefer=datacenter; NOMAD_DC when empty." placeholder:"NAME" group:"Discovery"`

	TrustedProxies    []cidr   `help:"Peers whose X-Forwarded-For and -Proto are believed." placeholder:"CIDR,..." group:"Clients"`
	TrustedFields     []string `help:"Further fields of trusted proxies that are sent on, such as X-Forwarded-Host; without it they are made anew or dropped, since balancers pass on what strangers send: docs/forwarding.md." placeholder:"NAME,..." group:"Clients"`
	Via               string   `help:"Name that serai gives itself in a Via field of requests and answers; empty sends none, since Via makes some instances stop compressing." placeholder:"NAME" group:"Clients"`
	ProxyProtocolFrom []cidr   `help:"Peers that may begin with a PROXY protocol header, v1 or v2." placeholder:"CIDR,..." group:"Clients"`
	AccessLog         string   `default:"off" help:"off, stdout or a file: one line for each request." placeholder:"off|stdout|FILE" group:"Clients"`
	AccessLogFormat   string   `default:"json" enum:"json,combined" help:"json, with all that is known, or combined, the format of Apache and nginx." placeholder:"json|combined" group:"Clients"`
	AccessLogSample   float64  `default:"1" help:"Share of the requests that get a line. Those that ended in a 5xx, or that serai answered itself or cut off, always do, but for --access-log-refused." group:"Clients"`
	AccessLogRefused  int      `default:"10" help:"Lines a second about requests that the policies of one route refuse (rate, allow, deny, auth and the like), since clients can be refused as often as they like. The next line tells how many were left out, as not_logged. 0 for no limit." group:"Clients"`
	AccessLogQuery    string   `default:"on" enum:"on,off,redact" help:"What the access log has of a query: all (on), nothing (off), or the names without their values (redact)." placeholder:"on|off|redact" group:"Clients"`
	AccessLogChecks   bool     `help:"Log requests for the ready path, too, which load balancers send all day." group:"Clients"`
	ReadyPath         string   `default:"/.serai/ready" help:"Path that tells load balancers whether to send requests here, where Host is an address, missing, or no service claims it by name." placeholder:"PATH" group:"Clients"`
	DrainDelay        duration `default:"10s" help:"On a stop: how long requests are still accepted while the ready path already fails." group:"Clients"`
	DrainTimeout      duration `default:"20s" help:"On a stop: how long what is in flight may take after that." group:"Clients"`

	CertDir       string     `help:"Directory of NAME.crt and NAME.key pairs; the pair called default answers all other names." placeholder:"DIR" group:"HTTPS"`
	HTTPSOnly     bool       `name:"https-only" help:"Redirect plain HTTP of every route to https (308, or its redirect-status), except those with tls=off or a redirect of their own." group:"HTTPS"`
	TLSMinVersion string     `name:"tls-min-version" default:"1.2" enum:"1.2,1.3" help:"Oldest version of TLS that is spoken." placeholder:"1.2|1.3" group:"HTTPS"`
	ACMEEmail     string     `name:"acme-email" help:"Contact of the account at the CA. Turns automatic certificates on for the hosts of all routes without tls=off." placeholder:"ADDRESS" group:"HTTPS"`
	ACMEDirectory string     `name:"acme-directory" help:"The CA's ACME directory; Let's Encrypt's when empty." placeholder:"URL" group:"HTTPS"`
	ACMECARoot    string     `name:"acme-ca-root" help:"PEM file of the roots that verify the CA's own address; the system's when empty." placeholder:"FILE" group:"HTTPS"`
	ACMEEngine    string     `name:"acme-engine" default:"certmagic" enum:"certmagic,autocert" help:"certmagic, for one node or a cluster, or autocert, for one node." placeholder:"certmagic|autocert" group:"HTTPS"`
	ACMEHosts     []string   `name:"acme-hosts" help:"Hosts that certificates may be ordered for: names, *.NAME for all below it; all when empty." placeholder:"PATTERN,..." group:"HTTPS"`
	ACMEPeers     string     `name:"acme-peers" default:"serai" help:"Nomad service that all serai are registered as, in serai's namespace: before an order each of them must answer a validation. Empty asks none." placeholder:"SERVICE" group:"HTTPS"`
	ACMEPeersWait duration   `name:"acme-peers-wait" default:"5m" help:"How long orders wait for a serai that does not answer, since the last one did, came or went; at most 24 times as long in all." group:"HTTPS"`
	ACMELimits    limitFlags `embed:""`

	ACMEEABKeyID string `name:"acme-eab-key-id" help:"External account that the CA knows: its key ID." placeholder:"ID" group:"HTTPS"`
	ACMEEABFile  string `name:"acme-eab-key-file" help:"And the file of its MAC key, base64url." placeholder:"FILE" group:"HTTPS"`
	CertStore    string `enum:",nomad,file" default:"" help:"Where obtained certificates and the keys of session tickets are: nomad (Variables, shared by all nodes), which is the default in a Nomad task, or file (--state-dir)." placeholder:"nomad|file" group:"HTTPS"`
	CertKeyFile  string `help:"Secret that seals private keys in the store, the same on all nodes." placeholder:"FILE" group:"HTTPS"`

	Memory      int64    `default:"0" help:"MiB that serai uses; 0 means GOMEMLIMIT, or nine tenths of what Nomad or the control group gives it. Three fifths are for clients: connections, requests and their bodies; 503 beyond." placeholder:"MIB" group:"Limits"`
	MaxHead     int      `default:"65536" help:"Bytes of a request's or answer's head; 431 or 502 beyond." group:"Limits"`
	MaxFields   int      `default:"128" help:"Header fields of one head." group:"Limits"`
	MaxTarget   int      `default:"16384" help:"Bytes of a request target; 414 beyond." group:"Limits"`
	MaxInterim  int      `default:"64" help:"1xx answers of an instance before its final one; 502 beyond." group:"Limits"`
	HeadTimeout duration `default:"10s" help:"Time of a request head from its first byte; 408 beyond." group:"Limits"`
	BodyIdle    duration `default:"30s" help:"Each wait for more of a request's body." group:"Limits"`
	MinRate     int      `default:"100" help:"Bytes a second of a request's body that a client is to send, on average over --body-idle; 408 below. A body without a known length only while requests wait for its place, none once its answer has begun; 0 for no least rate." group:"Limits"`
	KeepAlive   duration `default:"75s" help:"Wait for the next request on a connection." group:"Limits"`
	WriteIdle   duration `default:"30s" help:"Each wait for a client or instance to take more: up to 64 KiB of an answer at once, so that who reads slowly does not hold an instance." group:"Limits"`
	TunnelIdle  duration `default:"1h" help:"Silence of an upgraded connection, and of a client whose answer has begun over HTTP/2." group:"Limits"`

	HTTP2 string     `name:"http2" default:"on" enum:"on,off" help:"Offer HTTP/2 to clients over TLS." placeholder:"on|off" group:"Listeners"`
	H2C   string     `name:"h2c" default:"on" enum:"on,off" help:"Take HTTP/2 on the plain listener from clients that begin with its preface, as load balancers do." placeholder:"on|off" group:"Listeners"`
	Over2 http2Flags `embed:""`

	MaxConnections          int      `default:"0" help:"Client connections of each listener; 0 means what all of them share, half of the file descriptors, or three quarters of that where there are two." group:"Limits"`
	MaxConnectionsPerClient int      `default:"0" help:"Connections of one client address (IPv6: /64); 0 means no limit." group:"Limits"`
	MaxHandshakes           int      `default:"2048" help:"TLS handshakes under way at once on a listener; beyond, one that takes longer than two seconds makes room, or the new one is refused. 0 means no limit." group:"Limits"`
	MaxWaiting              int      `default:"1000" help:"Requests that wait for an instance of one route; 503 beyond." group:"Limits"`
	MaxWaitingBytes         int64    `default:"67108864" help:"Bytes that all requests that wait for an instance hold together, at most an eighth of the memory; 503 beyond. Each namespace, and each route of it, has an equal share: who has more makes room." group:"Limits"`
	ConnectTimeout          duration `default:"2s" help:"Time of a connect to an instance." group:"Limits"`
	UpstreamIdle            duration `default:"4s" help:"How long an unused connection to an instance is kept." group:"Limits"`
	UpstreamMaxIdle         int      `default:"2048" help:"Unused connections that are kept to one instance." group:"Limits"`
	UpstreamMaxStreams      int      `default:"100" help:"Requests at once on one HTTP/2 connection to an instance, or fewer where the instance allows no more; those beyond have another connection." group:"Limits"`
	RetryShare              float64  `default:"0.2" help:"Requests of a route that are being repeated, as a share of its requests in flight; 3 always may, and what one of several instances had when it died." group:"Limits"`
	MaxHops                 int      `default:"8" help:"How often a request may pass a serai; one more is a loop and is answered 508." group:"Limits"`
	RateKeys                int      `default:"1048576" help:"Clients, or whatever else rate counts requests by, that all routes with rate together remember, in 16 bytes each; one route remembers a quarter of them. A sixteenth of the memory at most." group:"Limits"`
	TokenCache              int64    `default:"8388608" help:"Bytes that the tokens take which jwt auths have verified, and do not verify again until they expire; a 64th of the memory at most. 0 for none." group:"Limits"`
	MaxCompressionBytes     int64    `default:"67108864" help:"Bytes of memory for compressing answers (compress), at most an eighth of the memory: up to 0.85 MiB for each of those that are under way, or 40 KiB once three quarters are taken, with gzip alone. Answers beyond are sent as they are. One client may have as much as is left." group:"Limits"`

	MetricsRoutes int `default:"20000" help:"Routes that have series of their own at /metrics, of those that were called; the rest shares one of its namespace. A namespace has three quarters of them at most." group:"Limits"`

	ErrorPages errorPageFlags `embed:""`
	Policies   policyFlags    `embed:""`

	Quotas quotaFlags `embed:""`

	Trace traceFlags `embed:""`

	ProbeRate        int      `default:"2000" help:"Probes a second of instances that are not ready, all together; the first of each is free." group:"Instances"`
	Probes           int      `default:"256" help:"Probes under way at once, as many that requests wait for, and four times as many that take longer than 100ms; less where an eighth of the connections to instances is less. Namespaces and jobs have equal shares: who has more makes room." group:"Instances"`
	JobProbeRate     int      `default:"500" help:"Probes a second of the instances of one job, checks among them; the first of each is free." group:"Instances"`
	MinCheckInterval duration `default:"1s" help:"Shortest pause after a good check, whatever check-interval says; 0 for none." group:"Instances"`
	MaxCheckTime     duration `default:"1m" help:"Longest time that a check may take, whatever check-timeout says." group:"Instances"`
	EjectAfter       int      `default:"5" help:"Failures in a row (answers that were cut, malformed, too late or never came) after which an instance is left alone for a while; 0 for never." group:"Instances"`
	EjectShare       float64  `default:"0" help:"Share of 5xx among an instance's answers, such as 0.5, above which it is left alone too; 0 for never." group:"Instances"`
	EjectTime        duration `default:"10s" help:"How long at first; twice as long each time it happens again soon." group:"Instances"`
	SlowStart        duration `default:"10s" help:"How long the share of an instance grows after it became ready; 0 for not at all." group:"Instances"`
	Splice           bool     `help:"Move bodies of a MiB and more within the kernel (splice) where both sides are plain TCP. Dearer than copying over the loopback; worth a try behind network cards." group:"Instances"`
	StickyKeyFile    string   `help:"Secret that goes into sticky cookies, the same on all nodes; without it they depend on the random IDs of allocations alone." placeholder:"FILE" group:"Instances"`

	LogLevel  logLevel `default:"INFO" help:"DEBUG, INFO, WARN or ERROR. SIGUSR1 changes it to DEBUG and back, serai log-level to any, while serai runs." placeholder:"LEVEL" group:"Log"`
	LogFormat string   `default:"text" enum:"text,json" help:"text or json, on standard error." group:"Log"`

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
	return "Each flag can also be set by a variable of the environment, SERAI_ and its name in upper case with _ for -, and in the config file by its name with _ for -: " +
		"--max-head is SERAI_MAX_HEAD and max_head. The command line counts before the environment, and that before the file. " +
		"SIGTERM stops serai after a drain; SIGHUP opens the access log again and reads the config file; SIGUSR1 changes the log's level to DEBUG and back."
}

// Run runs the ingress until it is told to stop and has drained.
func (c *serveCommand) Run(ctx context.Context, env *environment) error {
	if err := c.validate(); err != nil {
		return &usageError{err}
	}
	limit := memoryLimit(c.Memory, env.getenv)
	boundMemory(limit)
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
