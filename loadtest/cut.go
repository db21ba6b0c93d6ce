package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The addresses of the network of one scenario, which nobody outside of it
// sees: a bridge on this machine with a network namespace for each instance.
const (
	bridgeName    = "serai-lt"
	bridgeAddress = "10.203.17.1/24"
	bridgePrefix  = "10.203.17."
	bridgeHost    = bridgePrefix + "1"
)

// namespaces has each instance run in a network namespace of its own, so that
// its network can be cut. It needs root and iproute2.
func namespaces(ctx context.Context, t *town) (end func(), err error) {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root and the command ip", errSkipped)
	}
	n := 0
	end = func() {
		for i := range n {
			// The kernel takes a namespace down when it likes; with it went the
			// port, whose name the next scenario wants.
			ip("link", "delete", portName(i+1))
			ip("netns", "delete", spaceName(i+1))
		}
		ip("link", "delete", bridgeName)
	}
	for _, args := range []string{
		"link add " + bridgeName + " type bridge", "address add " + bridgeAddress + " dev " + bridgeName, "link set " + bridgeName + " up",
	} {
		if err := ip(strings.Fields(args)...); err != nil {
			end()
			return nil, fmt.Errorf("%w: %w", errSkipped, err)
		}
	}
	t.placed = func() int { return n }
	t.place = func() (string, []string, error) {
		n++
		space, address := spaceName(n), fmt.Sprintf("%s%d", bridgePrefix, n+1)
		for _, args := range []string{
			"netns add " + space,
			"link add " + portName(n) + " type veth peer name eth0 netns " + space,
			"link set " + portName(n) + " master " + bridgeName + " up",
			"-n " + space + " address add " + address + "/24 dev eth0",
			"-n " + space + " link set eth0 up",
		} {
			if err := ip(strings.Fields(args)...); err != nil {
				return "", nil, err
			}
		}
		return address + ":8080", []string{"ip", "netns", "exec", space}, nil
	}
	return end, nil
}

func spaceName(n int) string { return fmt.Sprintf("%s-%d", bridgeName, n) }
func portName(n int) string  { return fmt.Sprintf("%s%d", bridgeName, n) }

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// cutNetwork takes the first instance's port out of the bridge: nothing gets
// there and nothing comes back, and nobody is told.
func cutNetwork(s *stage) error {
	s.load.begin("before")
	time.Sleep(2 * time.Second)
	s.load.begin("the first 3 seconds of the cut")
	if err := ip("link", "set", portName(1), "nomaster"); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	s.load.begin("the next 7 seconds")
	time.Sleep(7 * time.Second)
	s.load.begin("after it")
	if err := ip("link", "set", portName(1), "master", bridgeName); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	return nil
}

// The limits of the scenario in which clients vanish.
var patienceWithClients = []string{"--http=" + seraiOnBridge, "--head-timeout=2s", "--body-idle=2s", "--write-idle=2s", "--keep-alive=4s", "--tunnel-idle=4s"}

const (
	seraiOnBridge = bridgeHost + ":18080"
	// longest is the longest of these limits, and what TCP may add to notice.
	longest = 4 * time.Second
	strands = 10
)

// cutClients strands connections in every state in a network that is then cut,
// in both directions and without a word, and waits until serai has ended them.
// The load goes on from elsewhere.
func cutClients(s *stage) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, command, err := s.place()
	if err != nil {
		return err
	}
	port := portName(s.placed())
	strand := exec.CommandContext(s.ctx, command[0], append(command[1:], self, "strand", seraiOnBridge)...)
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
	before := clientsOf(s.nodes[0].cmd.Process.Pid)
	if before < opened-strands { // the slow ones may have been answered
		return fmt.Errorf("%d of %d connections are there before the cut", before, opened)
	}
	s.load.begin("clients cut off")
	if err := ip("link", "set", port, "nomaster"); err != nil {
		return err
	}
	cut := time.Now()
	for clientsOf(s.nodes[0].cmd.Process.Pid) > 0 {
		if time.Since(cut) > longest+30*time.Second {
			return fmt.Errorf("%d connections are still there %v after the cut", clientsOf(s.nodes[0].cmd.Process.Pid), time.Since(cut))
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.load.begin(fmt.Sprintf("the last of %d connections ended after %.1f s", before, time.Since(cut).Seconds()))
	time.Sleep(time.Second)
	return nil
}

// clientsOf counts the connections of clients elsewhere that a process still
// has open, as ss tells.
func clientsOf(pid int) (n int) {
	out, err := exec.Command("ss", "-tnpH", "src", seraiOnBridge).Output()
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(out)) {
		// State, two queues, our address, the peer's, the process. The load
		// comes from the bridge's own address.
		f := strings.Fields(line)
		if len(f) > 5 && strings.Contains(f[5], fmt.Sprintf("pid=%d,", pid)) && !strings.HasPrefix(f[4], bridgeHost+":") {
			n++
		}
	}
	return n
}

// strandCommand leaves connections in every state a client can vanish in.
type strandCommand struct {
	Addr string `arg:""`
}

// Run opens them, prints how many, and is silent until it is killed.
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
