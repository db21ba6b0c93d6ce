package nomadsim_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/nomad"
)

func vari(path string, items map[string]string) nomad.Variable {
	return nomad.Variable{VariableMeta: nomad.VariableMeta{Namespace: "default", Path: path}, Items: items}
}

// is fails the test unless err is of the kind, or nil when kind is.
func is(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || kind == nil && err != nil {
		t.Errorf("%s: %v; want %v", what, err, kind)
	}
}

func contractVariables(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	const path = "vars/a~dx/B_1-2"

	_, _, err := cl.Variable(ctx, path, nomad.Query{})
	is(t, "read of nothing", err, nomad.ErrNotFound)
	is(t, "delete of nothing", cl.DeleteVariable(ctx, "default", path), nil)
	is(t, "delete of a version of nothing", cl.DeleteVariableIf(ctx, "default", path, 7), nomad.ErrConflict)
	_, err = cl.PutVariableIf(ctx, vari(path, map[string]string{"k": "v"}), 7)
	is(t, "write of a version of nothing", err, nomad.ErrConflict)

	made, err := cl.PutVariableIf(ctx, vari(path, map[string]string{"k": "one"}), 0)
	if err != nil {
		t.Fatal(err)
	}
	if made.Path != path || made.Namespace != "default" || made.CreateIndex == 0 || made.ModifyIndex != made.CreateIndex ||
		made.Created.IsZero() || made.Items["k"] != "one" {
		t.Errorf("written: %+v", made)
	}
	there, err := cl.PutVariableIf(ctx, vari(path, map[string]string{"k": "two"}), 0)
	is(t, "create twice", err, nomad.ErrConflict)
	if there == nil || there.ModifyIndex != made.ModifyIndex || there.Items["k"] != "one" {
		t.Errorf("conflict shows %+v; want what is there", there)
	}
	if err != nil && strings.Contains(err.Error(), "one") {
		t.Errorf("the error quotes a secret: %v", err)
	}

	next, err := cl.PutVariableIf(ctx, vari(path, map[string]string{"k": "two", "l": ""}), made.ModifyIndex)
	if err != nil || next.ModifyIndex <= made.ModifyIndex || next.CreateIndex != made.CreateIndex {
		t.Fatalf("update: %+v, %v", next, err)
	}
	_, err = cl.PutVariableIf(ctx, vari(path, map[string]string{"k": "three"}), made.ModifyIndex)
	is(t, "update of an old version", err, nomad.ErrConflict)
	got, meta, err := cl.Variable(ctx, path, nomad.Query{Stale: true})
	if err != nil || !maps.Equal(got.Items, next.Items) || got.ModifyIndex != next.ModifyIndex || meta.Index != next.ModifyIndex {
		t.Errorf("read: %+v, %+v, %v; want %+v", got, meta, err, next)
	}

	list, lm, err := cl.Variables(ctx, "vars/", nomad.Query{})
	if err != nil || len(list) != 1 || list[0].Path != path || list[0].ModifyIndex != next.ModifyIndex || lm.Index < next.ModifyIndex {
		t.Errorf("list: %+v, %+v, %v", list, lm, err)
	}
	if list, _, err := cl.Variables(ctx, "vars/none", nomad.Query{}); err != nil || len(list) != 0 {
		t.Errorf("list of another prefix: %+v, %v", list, err)
	}

	// A blocking query on the list ends with a write, one on the variable with its
	// deletion.
	listed := make(chan error, 1)
	go func() {
		for index := lm.Index; ; {
			l, m, err := cl.Variables(ctx, "vars/", nomad.Query{Index: index})
			if err != nil || slices.ContainsFunc(l, func(v nomad.VariableMeta) bool { return v.Path == "vars/b" }) {
				listed <- err
				return
			}
			index = m.Index
		}
	}()
	if _, err := cl.PutVariable(ctx, vari("vars/b", map[string]string{"k": "v"})); err != nil {
		t.Fatal(err)
	}
	is(t, "wait on the list", <-listed, nil)
	if _, err := cl.PutVariable(ctx, vari("vars/b", map[string]string{"k": "w"})); err != nil {
		t.Errorf("write over: %v", err)
	}

	deleted := make(chan error, 1)
	go func() {
		for index := next.ModifyIndex; ; {
			_, m, err := cl.Variable(ctx, path, nomad.Query{Index: index})
			if err != nil {
				deleted <- err
				return
			}
			index = m.Index
		}
	}()
	is(t, "delete of an old version", cl.DeleteVariableIf(ctx, "default", path, made.ModifyIndex), nomad.ErrConflict)
	is(t, "delete", cl.DeleteVariableIf(ctx, "default", path, next.ModifyIndex), nil)
	is(t, "wait on the variable", <-deleted, nomad.ErrNotFound)

	big := map[string]string{"k": strings.Repeat("x", 64<<10)}
	_, err = cl.PutVariable(ctx, vari("vars/big", big))
	var e *nomad.Error
	if !errors.As(err, &e) || e.Status != 400 || !strings.Contains(e.Body, "64KiB") {
		t.Errorf("65,537 bytes: %v; want a 400 about 64KiB", err)
	}
	big["k"] = big["k"][1:]
	if _, err = cl.PutVariable(ctx, vari("vars/big", big)); err != nil {
		t.Errorf("65,536 bytes: %v", err)
	}
	for _, bad := range []string{"", "a.b", "a@b", "a*", strings.Repeat("x", 129)} {
		if _, err := cl.PutVariable(ctx, vari(bad, map[string]string{"k": "v"})); err == nil {
			t.Errorf("path %q was taken", bad)
		}
	}
}

func contractLocks(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	mine := nomad.Lock{Path: "locks/a", ID: nomad.NewLockID(), TTL: time.Hour, Delay: time.Millisecond}
	other := mine
	other.ID = nomad.NewLockID()

	is(t, "renew of nothing", cl.RenewLock(ctx, mine), nomad.ErrConflict)
	is(t, "release of nothing", cl.ReleaseLock(ctx, mine), nomad.ErrConflict)
	is(t, "acquire", cl.AcquireLock(ctx, mine, map[string]string{"holder": "me"}), nil)
	is(t, "acquire by another", cl.AcquireLock(ctx, other, nil), nomad.ErrConflict)
	is(t, "acquire again", cl.AcquireLock(ctx, mine, map[string]string{"holder": "me"}), nil)
	is(t, "renew", cl.RenewLock(ctx, mine), nil)
	is(t, "renew by another", cl.RenewLock(ctx, other), nomad.ErrConflict)
	is(t, "release by another", cl.ReleaseLock(ctx, other), nomad.ErrConflict)
	_, err := cl.PutVariable(ctx, vari(mine.Path, map[string]string{"k": "v"}))
	is(t, "write to the locked", err, nomad.ErrConflict)
	is(t, "delete of the locked", cl.DeleteVariable(ctx, "default", mine.Path), nomad.ErrConflict)
	v, _, err := cl.Variable(ctx, mine.Path, nomad.Query{})
	if err != nil || v.Items["holder"] != "me" || v.LockID != mine.ID {
		t.Errorf("read of the locked: %+v, %v; want the items and, as management, the ID", v, err)
	}
	is(t, "release", cl.ReleaseLock(ctx, mine), nil)
	v, _, err = cl.Variable(ctx, mine.Path, nomad.Query{})
	if err != nil || v.Items["holder"] != "me" || v.LockID != "" {
		t.Errorf("read of the released: %+v, %v; want the items and no lock", v, err)
	}
	is(t, "release again", cl.ReleaseLock(ctx, mine), nomad.ErrConflict)
	is(t, "renew of the released", cl.RenewLock(ctx, mine), nomad.ErrConflict)

	// After a release nothing blocks, and acquiring removes the items.
	is(t, "acquire by another after release", cl.AcquireLock(ctx, other, nil), nil)
	if v, _, err := cl.Variable(ctx, mine.Path, nomad.Query{}); err != nil || len(v.Items) != 0 {
		t.Errorf("read of a lock without items: %+v, %v", v, err)
	}
	is(t, "release by another", cl.ReleaseLock(ctx, other), nil)

	short := mine
	short.Path, short.TTL = "locks/short", minTTL-time.Millisecond
	var e *nomad.Error
	if err := cl.AcquireLock(ctx, short, nil); !errors.As(err, &e) || e.Status != 400 {
		t.Errorf("TTL %v: %v; want 400", short.TTL, err)
	}
}

// contractLockExpiry waits until a lock expires whose holder is silent. It acquires the
// lock again at half time, which must not help.
func contractLockExpiry(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	mine := nomad.Lock{Path: "expiry/a", ID: nomad.NewLockID(), TTL: c.lockTTL(), Delay: c.lockTTL() / 5}
	other := mine
	other.ID = nomad.NewLockID()
	begin := c.now()
	is(t, "acquire", cl.AcquireLock(ctx, mine, nil), nil)
	c.pass(t, mine.TTL)
	is(t, "acquire again", cl.AcquireLock(ctx, mine, nil), nil)

	eventually(t, "lock is free", func() (bool, any) {
		err := cl.AcquireLock(ctx, other, nil)
		if err != nil && !errors.Is(err, nomad.ErrConflict) {
			t.Fatal(err)
		}
		if err != nil {
			c.pass(t, mine.TTL/50)
		}
		return err == nil, err
	})
	if held := c.now().Sub(begin); held < 2*mine.TTL+mine.Delay {
		t.Errorf("the lock was free after %v; want at least twice the TTL and the delay, %v", held, 2*mine.TTL+mine.Delay)
	} else if held > 3*mine.TTL+mine.Delay-mine.TTL/4 {
		// If acquiring again counted, it would have been three TTLs. This is no
		// assertion about speed: it distinguishes two rules that differ by a TTL.
		t.Errorf("the lock was free after %v: acquiring again wound its clock", held)
	}
	is(t, "renew of the lost", cl.RenewLock(ctx, mine), nomad.ErrConflict)
	is(t, "renew by the new holder", cl.RenewLock(ctx, other), nil)
	is(t, "release", cl.ReleaseLock(ctx, other), nil)
}

// contractLateLock acquires again after the lock expired but before the delay is over:
// it succeeds, and the lock is released all the same.
func contractLateLock(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	mine := nomad.Lock{Path: "late/a", ID: nomad.NewLockID(), TTL: c.lockTTL(), Delay: c.lockTTL() / 2}
	is(t, "acquire", cl.AcquireLock(ctx, mine, nil), nil)
	c.pass(t, 2*mine.TTL+mine.Delay/4)
	is(t, "renew when it is too late", cl.RenewLock(ctx, mine), nomad.ErrConflict)
	other := mine
	other.ID = nomad.NewLockID()
	is(t, "acquire by another in the delay", cl.AcquireLock(ctx, other, nil), nomad.ErrConflict)
	is(t, "acquire again when it is too late", cl.AcquireLock(ctx, mine, nil), nil)
	is(t, "renew after that", cl.RenewLock(ctx, mine), nil)
	eventually(t, "the lock is freed under its holder", func() (bool, any) {
		v, _, err := cl.Variable(ctx, mine.Path, nomad.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if v.LockID != "" {
			c.pass(t, mine.Delay/20)
		}
		return v.LockID == "", v
	})
	is(t, "renew of the freed", cl.RenewLock(ctx, mine), nomad.ErrConflict)
}
