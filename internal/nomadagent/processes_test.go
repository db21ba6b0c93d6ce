package nomadagent

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestProcessesEnd kills an "agent" whose children have sessions of their own: they and
// their descendants end, another process does not.
func TestProcessesEnd(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	agent := exec.Command("sh", "-c", `setsid sh -c 'sleep 60 & echo $!; echo $$; wait' & wait`)
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n := 0
	for strings.Count(string(b[:n]), "\n") < 2 {
		more, err := out.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += more
	}
	var p Processes
	p.Note(agent.Process.Pid)
	agent.Process.Kill()
	agent.Wait()
	for _, text := range strings.Fields(string(b[:n])) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Kill(pid, 0) != nil {
			t.Fatalf("process %d did not outlive the agent, which shows nothing", pid)
		}
	}
	p.End()
	for _, text := range strings.Fields(string(b[:n])) {
		pid, _ := strconv.Atoi(text)
		if now, ok := processes()[pid]; ok && now.state != "Z" {
			t.Errorf("process %d is still there", pid)
		}
	}
	if now := processes()[stranger.Process.Pid]; now.state == "Z" || now.state == "" {
		t.Error("a stranger was ended")
	}
}
