package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// cluster is what an episode's instances are registered with: a simulated
// Nomad and a services file.
type cluster struct {
	program *Program
	rules   map[string]*rules // by service
	ledger  *ledger
	sim     *nomadsim.Sim
	nomad   string // its URL
	dir     string
	tls     *tls.Config
	self    string // serai's own address

	mu        sync.Mutex
	instances map[string][]*instance // by service, oldest first
	all       []*instance
	made      int
	static    []nomad.Registration
}

func newCluster(ctx context.Context, p *Program, l *ledger, dir string, certificate *tls.Certificate) (*cluster, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cluster{program: p, ledger: l, sim: nomadsim.New(nomadsim.Options{}), nomad: "http://" + listener.Addr().String(), dir: dir,
		rules: make(map[string]*rules), instances: make(map[string][]*instance), tls: &tls.Config{Certificates: []tls.Certificate{*certificate}}}
	for _, s := range p.Services {
		r := rulesOf(s)
		c.rules[s.Name] = &r
	}
	go c.sim.Run(ctx, listener)
	return c, nil
}

func (c *cluster) file() string { return filepath.Join(c.dir, "services.json") }

// start starts an instance with the Own tags of that number, and registers it.
func (c *cluster) start(ctx context.Context, s *Service, own int) error {
	c.mu.Lock()
	c.made++
	number := c.made
	c.mu.Unlock()
	name := fmt.Sprintf("%s-i%d", s.Name, number)
	i, err := startInstance(ctx, s, c.rules[s.Name], own, name, c.ledger, c.tls)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.instances[s.Name] = append(c.instances[s.Name], i)
	c.all = append(c.all, i)
	c.mu.Unlock()
	return c.register(i)
}

// register adds an instance to Nomad or the services file, with more tags.
func (c *cluster) register(i *instance, more ...string) error {
	s := i.service
	address := i.address()
	if s.Flavour == Self {
		address = c.self
	}
	at := netip.MustParseAddrPort(address)
	tags := append(slices.Clone(s.Own[i.own%len(s.Own)]), more...)
	for _, t := range s.Tags {
		tags = append(tags, t.String())
	}
	reg := nomad.Registration{ID: "_nomad-task-" + i.name, ServiceName: s.Name, Namespace: nomad.DefaultNamespace, Datacenter: nomadsim.Datacenter,
		NodeID: "node-0", JobID: s.Name, AllocID: i.name, Tags: tags, Address: at.Addr().String(), Port: int(at.Port())}
	if !s.Static {
		c.sim.Register(reg)
		return nil
	}
	c.mu.Lock()
	c.static = append(c.static, reg)
	c.mu.Unlock()
	return c.writeFile()
}

// take returns the oldest instance of a service, or the one with that number, and
// removes it if out is set.
func (c *cluster) take(s *Service, which int, out bool) *instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.instances[s.Name]
	if len(list) == 0 {
		return nil
	}
	i := list[which%len(list)]
	if out {
		c.instances[s.Name] = slices.DeleteFunc(slices.Clone(list), func(o *instance) bool { return o == i })
		c.sim.Deregister(nomad.DefaultNamespace, "_nomad-task-"+i.name)
	}
	return i
}

// writeFile writes the services file.
func (c *cluster) writeFile() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	content, err := json.Marshal(append([]nomad.Registration{}, c.static...))
	if err != nil {
		return err
	}
	next := c.file() + ".new"
	return errors.Join(os.WriteFile(next, content, 0o600), os.Rename(next, c.file()))
}

// close ends all instances.
func (c *cluster) close() {
	for _, i := range c.all {
		i.close()
	}
}

// makeCertificate makes one that signs itself, for serai and for instances,
// and writes it as serai's default.
func makeCertificate(dir string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chaos"}, DNSNames: []string{"*.chaos"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "default.crt"), certificate, 0o600),
		os.WriteFile(filepath.Join(dir, "default.key"), private, 0o600)); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, private)
	return &pair, err
}
