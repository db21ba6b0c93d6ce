package main

import (
	"fmt"
	"slices"
	"time"
)

// updateNodes updates serai's own job, which Nomad rolls over the nodes: each serai
// drains and ends, and the next one ends after this one has been healthy for a while.
func updateNodes(s *testbed) error {
	for i := range max(1, s.rounds/5) {
		s.load.mark(fmt.Sprintf("update %d", i+1))
		if err := s.ingress.update(s.ctx); err != nil {
			return err
		}
	}
	return nil
}

// slowStart is serai's default, --slow-start.
const slowStart = 10 * time.Second

// cutNode cuts a node off, again and again.
func cutNode(s *testbed) error {
	for range max(1, s.rounds/10) {
		if err := cutNodeOnce(s); err != nil {
			return err
		}
	}
	return nil
}

// cutNodeOnce cuts the first node off, with its serai and its instance, until Nomad has
// noticed and replaced what ran there. Then it connects the node again and waits until
// serai runs there.
func cutNodeOnce(s *testbed) error {
	client := s.servers.clients[0]
	node, err := s.node(client)
	if err != nil {
		return err
	}
	s.load.begin("before")
	if err := s.spread(node); err != nil {
		return err
	}
	before, err := s.ingress.on(s.ctx, node.ID)
	if err != nil {
		return err
	}
	if before == "" {
		return fmt.Errorf("no serai runs on %s: a cut would show nothing", node.Name)
	}
	s.load.begin("the first 3 seconds of the cut")
	if err := client.space.Cut(); err != nil {
		return err
	}
	defer client.space.Join() // or nobody could stop what runs there
	time.Sleep(3 * time.Second)
	s.load.begin("until Nomad knows")
	if err := s.awaitStatus(client, "down"); err != nil {
		return err
	}
	s.load.begin("while Nomad knows")
	if err := eventually(s.ctx, "another instance", func() error {
		elsewhere, err := s.job.allocs(s.ctx)
		if err != nil {
			return err
		}
		elsewhere = slices.DeleteFunc(elsewhere, func(a allocation) bool { return a.NodeID == node.ID })
		if len(elsewhere) != s.job.spec.count {
			return fmt.Errorf("%d run on the other nodes", len(elsewhere))
		}
		return nil
	}); err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	s.load.begin("it is back")
	if err := client.space.Join(); err != nil {
		return err
	}
	if err := s.awaitStatus(client, "ready"); err != nil {
		return err
	}
	// Nomad stops the serai that it had given up, and starts another one there.
	if err := eventually(s.ctx, "another serai on the node", func() error {
		now, err := s.ingress.on(s.ctx, node.ID)
		if err == nil && (now == before || now == "") {
			err = fmt.Errorf("the allocation on the node is %q, after %q", now, before)
		}
		return err
	}); err != nil {
		return err
	}
	if err := s.nodeIngress(client).await(s.ctx, "web.loadtest", "/"); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	return nil
}

// spread deploys until one of the instances is on a node, and waits until serai gives
// it its share. After a cut no instance returns by itself, and Nomad's scores decide
// where one runs.
func (s *testbed) spread(node nomadNode) error {
	const deploys = 10
	for range deploys {
		if err := s.job.deploy(s.ctx, again); err != nil {
			return err
		}
		instance, err := s.job.on(s.ctx, node.ID)
		if err != nil {
			return err
		}
		if instance != "" {
			time.Sleep(slowStart)
			return nil
		}
	}
	return fmt.Errorf("no instance is on %s after %d deploys: a cut would show nothing", node.Name, deploys)
}

// node returns what Nomad tells of one.
func (s *testbed) node(client *nomadAgent) (nomadNode, error) {
	nodes, err := s.servers.nodes(s.ctx)
	return nodes[client.name], err
}

// awaitStatus waits until Nomad says so of a node.
func (s *testbed) awaitStatus(client *nomadAgent, status string) error {
	return eventually(s.ctx, "a node that is "+status, func() error {
		n, err := s.node(client)
		if err == nil && n.Status != status {
			err = fmt.Errorf("%s is %s", n.Name, n.Status)
		}
		return err
	})
}

// nodeIngress returns the serai on a node.
func (s *testbed) nodeIngress(client *nomadAgent) *ingress {
	return s.nodes[slices.Index(s.servers.clients, client)]
}
