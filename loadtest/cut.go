package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"serai/internal/netns"
)

// cutWithin is how long a request may take while a part of the network is lost: serai
// notices within two seconds, may try another instance that is lost, too, and this
// machine has other work.
const cutWithin = 10 * time.Second

// cutNetwork cuts the first instance off.
func cutNetwork(s *testbed) error {
	s.load.begin("before")
	time.Sleep(2 * time.Second)
	s.load.begin("the first 3 seconds of the cut")
	first := s.network.Spaces[0]
	if err := first.Cut(); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	s.load.begin("the next 7 seconds")
	time.Sleep(7 * time.Second)
	s.load.begin("after it")
	if err := first.Join(); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	return nil
}

// shortClientTimeouts is serai's where clients vanish.
var shortClientTimeouts = []string{"--head-timeout=2s", "--body-idle=2s", "--write-idle=2s", "--keep-alive=4s", "--tunnel-idle=4s"}

const (
	// longest is the longest of these limits, and what TCP may add to notice.
	longest = 4 * time.Second
	strands = 10
)

// cutClients leaves connections in every state in a network that is then cut in both
// directions, and waits until serai has ended them. The load goes on from elsewhere.
func cutClients(s *testbed) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	clients, err := s.network.Add()
	if err != nil {
		return err
	}
	serai := s.nodes[0]
	command := clients.Command(self, "strand", serai.address)
	strand := exec.CommandContext(s.ctx, command[0], command[1:]...)
	strand.Stderr = os.Stderr
	out, err := strand.StdoutPipe()
	if err != nil {
		return err
	}
	if err := strand.Start(); err != nil {
		return err
	}
	defer func() {
		strand.Process.Kill()
		strand.Wait()
	}()
	opened := 0
	if _, err := fmt.Fscan(out, &opened); err != nil {
		return fmt.Errorf("strand: %w", err)
	}
	time.Sleep(500 * time.Millisecond)
	before := connections(serai, clients)
	if before < opened-strands { // the slow ones may have been answered
		return fmt.Errorf("%d of %d connections are there before the cut", before, opened)
	}
	s.load.begin("clients cut off")
	if err := clients.Cut(); err != nil {
		return err
	}
	cut := time.Now()
	for connections(serai, clients) > 0 {
		if time.Since(cut) > longest+30*time.Second {
			return fmt.Errorf("%d connections are still there %v after the cut", connections(serai, clients), time.Since(cut))
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.load.begin(fmt.Sprintf("the last of %d connections ended after %.1f s", before, time.Since(cut).Seconds()))
	time.Sleep(time.Second)
	return nil
}

// connections counts the connections from the clients that a process at serai's address
// still has open, according to ss.
func connections(serai *ingress, clients *netns.Space) (n int) {
	command := []string{"ss", "-tnpH", "src", serai.address, "dst", clients.Address}
	if serai.space != nil {
		command = serai.space.Command(command...)
	}
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		return -1
	}
	// One that only the kernel still has names no process.
	return strings.Count(string(out), "pid=")
}

// strandCommand leaves connections in every state a client can vanish in.
type strandCommand struct {
	Addr string `arg:""`
}

// Run opens them, prints how many, and then does nothing until it is killed.
func (s *strandCommand) Run(ctx context.Context) error {
	const head = " HTTP/1.1\r\nHost: web.loadtest\r\n"
	states := []string{
		"",                      // nothing at all
		"GET /" + head,          // half a head
		"GET /" + head + "\r\n", // idle after an answer
		"POST /" + head + "Content-Length: 1000\r\n\r\nthe first bytes",      // half a body
		"POST /" + head + "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", // half of a chunked one
		"GET /bytes/1000000000" + head + "\r\n",                              // an answer that is not read
		"GET /slow?wait=3s" + head + "\r\n",                                  // an answer that is awaited
		"GET /sse?every=500ms" + head + "\r\n",                               // events
		"GET /ws" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", // a tunnel
	}
	opened := 0
	for range strands {
		for _, bytes := range states {
			c, err := net.Dial("tcp", s.Addr)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte(bytes)); err != nil {
				return err
			}
			opened++
		}
	}
	fmt.Println(opened)
	<-ctx.Done()
	return nil
}
