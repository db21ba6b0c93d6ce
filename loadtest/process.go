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

// town starts and stops instances as Nomad does, and tells the simulator.
type town struct {
	sim    *nomadsim.Sim
	binary string
	made   int
}

// start runs an instance and registers it at once, as a group's service is:
// before its port is open.
func (t *town) start(service string, tags ...string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	t.made++
	alloc := fmt.Sprintf("%08x-0000-4000-8000-000000000000", t.made)
	cmd := exec.Command(t.binary, "hello", "--addr="+address, "--name="+service)
	cmd.Env = []string{"NOMAD_ALLOC_ID=" + alloc}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an instance: %w", err)
	}
	at := netip.MustParseAddrPort(address)
	i := &instance{cmd: cmd, exited: make(chan struct{}), reg: nomad.Registration{
		ID: "_nomad-task-" + alloc + "-" + service, ServiceName: service, Namespace: nomad.DefaultNamespace, Datacenter: nomadsim.Datacenter,
		NodeID: "node-" + alloc, JobID: service, AllocID: alloc, Tags: tags, Address: at.Addr().String(), Port: int(at.Port()),
	}}
	go func() {
		cmd.Wait()
		close(i.exited)
	}()
	t.sim.Register(i.reg)
	return i, nil
}

// stop deregisters an instance and stops it at once: no shutdown_delay.
func (t *town) stop(i *instance) {
	t.sim.Deregister(i.reg.Namespace, i.reg.ID)
	i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.exited:
	case <-time.After(5 * time.Second): // kill_timeout
		i.kill()
	}
}

// kill ends an instance without a word.
func (i *instance) kill() {
	i.cmd.Process.Kill()
	<-i.exited
}
