package consulsim_test

import (
	"context"
	"net"
	"testing"

	"serai/consul/consulsim"
)

// simCluster is the simulator as an agent under test.
type simCluster struct {
	sim  *consulsim.Sim
	url  string
	root string
}

const root = "99999999-9999-9999-9999-999999999999"

func newSimCluster(t *testing.T, o consulsim.Options) *simCluster {
	c := &simCluster{sim: consulsim.New(o)}
	if o.ACL {
		c.root = root
		c.sim.PutToken(consulsim.Token{Secret: root, Accessor: "99999999-0000-0000-0000-999999999999", Management: true})
	}
	c.url = serve(t, c.sim)
	return c
}

// serve runs s on a loopback address until the test ends.
func serve(t *testing.T, s *consulsim.Sim) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func (c *simCluster) address() string    { return c.url }
func (c *simCluster) management() string { return c.root }
func (c *simCluster) serverPort() int    { return 8300 }

func (c *simCluster) putToken(_ *testing.T, token consulsim.Token) { c.sim.PutToken(token) }
func (c *simCluster) deleteToken(_ *testing.T, token consulsim.Token) {
	c.sim.DeleteToken(token.Secret)
}
func (c *simCluster) restart(*testing.T) { c.sim.Reset() }
func (c *simCluster) sync()              { c.sim.Sync() }

func (c *simCluster) save(*testing.T) (restore func()) {
	state := c.sim.Save()
	return func() { c.sim.Restore(state) }
}

func TestSimulatorKeepsTheContract(t *testing.T) {
	contract(t, func(t *testing.T) cluster { return newSimCluster(t, consulsim.Options{}) })
}

func TestGuardedSimulatorKeepsTheContract(t *testing.T) {
	guardedContract(t, func(t *testing.T) cluster { return newSimCluster(t, consulsim.Options{ACL: true}) })
}

func (c *simCluster) setLeader(_ *testing.T, known bool) { c.sim.SetLeader(known) }

func TestSimulatorLosesItsLeader(t *testing.T) {
	t.Run("lost and found", func(t *testing.T) { contractLeader(t, newSimCluster(t, consulsim.Options{})) })
	t.Run("waiting", func(t *testing.T) { contractLeaderWait(t, newSimCluster(t, consulsim.Options{})) })
}
