package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// shell is a generator that counts for two seconds, and fails if it is told to.
func shell(ctx context.Context, end string) *generator {
	const count = `end=$(($(date +%s) + 2)); n=0; while [ $(date +%s) -lt $end ]; do n=$((n + 1)); done; `
	return newGenerator(exec.CommandContext(ctx, "sh", "-c", count+end), readSeen)
}

const turn = 300 * time.Millisecond

func TestTurns(t *testing.T) {
	began := time.Now()
	all, err := takeTurns(t.Context(), []*generator{
		shell(t.Context(), `echo "{\"requests\": $n}"`), shell(t.Context(), `echo "{\"requests\": $n}"`),
	}, 2*time.Second, turn)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if s.Requests == 0 || s.Seconds < turn.Seconds() {
			t.Errorf("%d saw %+v", i, s)
		}
	}
	// Never two at a time.
	if sum, whole := all[0].Seconds+all[1].Seconds, time.Since(began).Seconds(); sum > whole {
		t.Errorf("under way for %f s of %f", sum, whole)
	}
}

func TestTurnsEnd(t *testing.T) {
	_, err := takeTurns(t.Context(), []*generator{shell(t.Context(), `echo "{}"`), shell(t.Context(), "echo refused >&2; exit 3")}, time.Second, turn)
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a generator that fails: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*turn/2)
	defer cancel()
	endless := newGenerator(exec.Command("sleep", "60"), readSeen)
	if _, err := takeTurns(ctx, []*generator{endless, shell(t.Context(), "")}, time.Minute, turn); err == nil {
		t.Error("a cancelled comparison has a result")
	}
	if endless.cmd.ProcessState == nil {
		t.Error("a stopped generator is left behind")
	}
}
