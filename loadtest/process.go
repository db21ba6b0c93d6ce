package main

import (
	"fmt"
	"net/netip"
	"os/exec"
	"syscall"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// instance is a `serai hello` in a process of its own, which can be killed.
type instance struct {
	cmd    *exec.Cmd
	reg    nomad.Registration
	exited chan struct{}
}

// simJobs starts and stops instances as Nomad does, and tells the simulator.
type simJobs struct {
	sim    *nomadsim.Sim
	binary string
	made   int
	delay  time.Duration // shutdown_delay: from the deregistration to the signal
	// place returns where the next instance runs: its address, and what its
	// command line begins with. Nil means the loopback.
	place func() (address string, command []string, err error)
}

// start runs an instance and registers it at once, as a group's service is:
// before its port is open.
func (t *simJobs) start(service string, tags ...string) (*instance, error) {
	var command []string
	address, err := freeAddress()
	if t.place != nil {
		address, command, err = t.place()
	}
	if err != nil {
		return nil, err
	}
	t.made++
	alloc := fmt.Sprintf("%08x-0000-4000-8000-000000000000", t.made)
	command = append(command, t.binary, "hello", "--addr="+address, "--name="+service)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{"NOMAD_ALLOC_ID=" + alloc}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an instance: %w", err)
	}
	i := &instance{cmd: cmd, exited: make(chan struct{}), reg: registration(service, alloc, address, tags)}
	go func() {
		cmd.Wait()
		close(i.exited)
	}()
	t.sim.Register(i.reg)
	return i, nil
}

// registration is what Nomad tells of an instance.
func registration(service, alloc, address string, tags []string) nomad.Registration {
	at := netip.MustParseAddrPort(address)
	return nomad.Registration{
		ID: "_nomad-task-" + alloc + "-" + service, ServiceName: service, Namespace: nomad.DefaultNamespace, Datacenter: nomadsim.Datacenter,
		NodeID: "node-" + alloc, JobID: service, AllocID: alloc, Tags: tags, Address: at.Addr().String(), Port: int(at.Port()),
	}
}

// stop deregisters an instance and stops it, after the shutdown_delay.
func (t *simJobs) stop(i *instance) {
	t.sim.Deregister(i.reg.Namespace, i.reg.ID)
	time.Sleep(t.delay)
	i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.exited:
	case <-time.After(5 * time.Second): // kill_timeout
		i.kill()
	}
}

// kill kills an instance.
func (i *instance) kill() {
	i.cmd.Process.Kill()
	<-i.exited
}
