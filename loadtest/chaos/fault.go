package chaos

import (
	"context"
	"net/http"
	"os"
	"syscall"
	"time"

	"serai/nomad/nomadsim"
)

// fail makes a fault happen at its moment, and ends it.
func (e *episode) fail(ctx context.Context, f *Fault) {
	if !wait(ctx, f.At) {
		return
	}
	var err error
	switch f.Kind {
	case Replace, Add, Retag:
		err = e.deploy(ctx, f)
	case Kill, Hang, ResetConns, CutThere, CutBack, CutBoth:
		err = e.hurt(ctx, f)
	case Restart:
		err = e.restart(ctx, syscall.SIGTERM)
	case KillAndStart:
		err = e.restart(ctx, syscall.SIGKILL)
	default:
		err = e.trouble(ctx, f)
	}
	if err != nil && ctx.Err() == nil {
		e.ledger.find("the trial itself", f.Name, "%v", err)
	}
}

// deploy changes what is registered, as Nomad does.
func (e *episode) deploy(ctx context.Context, f *Fault) error {
	switch f.Kind {
	case Add:
		return e.cluster.start(ctx, f.Service, f.Which)
	case Retag:
		if i := e.cluster.take(f.Service, f.Which, false); i != nil {
			return e.cluster.register(i, "another=tag")
		}
		return nil
	}
	// The new one has the tags of the one that goes: were it a canary in place of
	// the last other one, most requests would have nowhere to go.
	own := f.Which
	if old := e.cluster.take(f.Service, 0, false); old != nil {
		own = old.own
	}
	if err := e.cluster.start(ctx, f.Service, own); err != nil {
		return err
	}
	wait(ctx, 150*time.Millisecond) // until the new one is healthy
	if old := e.cluster.take(f.Service, 0, true); old != nil {
		old.stopOrderly()
	}
	return nil
}

// hurt does something to an instance that Nomad does not learn at once.
func (e *episode) hurt(ctx context.Context, f *Fault) error {
	i := e.cluster.take(f.Service, f.Which, false)
	if i == nil {
		return nil
	}
	var again func()
	switch f.Kind {
	case Kill:
		i.kill()
		wait(ctx, f.Lasts)
		e.cluster.mu.Lock()
		registered := len(e.cluster.instances[f.Service.Name])
		e.cluster.mu.Unlock()
		if !f.Service.Static && registered > 0 {
			e.cluster.take(f.Service, f.Which, true)
		}
		return e.cluster.start(ctx, f.Service, f.Which)
	case ResetConns:
		i.resetConns()
		return nil
	case Hang:
		again = i.hang()
	case CutThere:
		again = i.relay.cut(true, false)
	case CutBack:
		again = i.relay.cut(false, true)
	case CutBoth:
		again = i.relay.cut(true, true)
	}
	wait(ctx, f.Lasts)
	again()
	return nil
}

// reload makes serai read the config file again: once with a harmless change and once
// as it was, or with a mistake in between.
func (e *episode) reload(ctx context.Context, f *Fault) error {
	text := goodConfig + "policy \"spare\" {\n  deny = [\"10.0.0.1\"]\n}\n"
	if f.Kind == ConfigBroken {
		text = one(newDice(uint64(f.At)), "", "policy \"inside\" {", goodConfig[:len(goodConfig)/2])
	}
	e.reloading.Lock()
	defer e.reloading.Unlock()
	for _, text := range []string{text, goodConfig} {
		if err := e.cluster.writeConfig(text); err != nil {
			return err
		}
		e.proxy.hangup()
		wait(ctx, f.Lasts)
	}
	return nil
}

// trouble makes Nomad or the services file fail.
func (e *episode) trouble(ctx context.Context, f *Fault) error {
	var faulty nomadsim.Fault
	switch f.Kind {
	case ConfigBroken, ConfigAgain:
		return e.reload(ctx, f)
	case FileBroken:
		if err := os.WriteFile(e.cluster.file(), []byte("[{"), 0o600); err != nil {
			return err
		}
		wait(ctx, f.Lasts)
		return e.cluster.writeFile()
	case FileTouched:
		return e.cluster.writeFile()
	case NomadEnds:
		e.cluster.sim.Disconnect()
		return nil
	case NomadErrors:
		faulty = nomadsim.Status(http.StatusInternalServerError, "rpc error: No path to region")
	case NomadSilent:
		faulty = nomadsim.Silent()
	case NomadForbids:
		faulty = nomadsim.Forbidden()
	}
	remove := e.cluster.sim.Inject("", faulty)
	e.cluster.sim.Disconnect()
	wait(ctx, f.Lasts)
	remove()
	return nil
}
