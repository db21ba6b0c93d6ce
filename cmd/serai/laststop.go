package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"serai/internal/atomicfile"
)

// lastStop is what a serai leaves to its successor in --state-dir: nobody can scrape what
// happens in the last moment of a process.
type lastStop struct {
	// Cut is how many requests were in flight when --drain-timeout was over.
	Cut int       `json:"cut_requests"`
	At  time.Time `json:"at"`
}

func lastStopFile(stateDir string) string { return filepath.Join(stateDir, "last-stop.json") }

// readLastStop returns how the serai before this one stopped, nil when that is not known:
// there was none, or it had no time to say so. The file is removed, so that it says nothing
// about a stop that writes none.
func (s *system) readLastStop() *lastStop {
	if s.StateDir == "" {
		return nil
	}
	name := lastStopFile(s.StateDir)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	os.Remove(name)
	var last lastStop
	if json.Unmarshal(text, &last) != nil || last.Cut < 0 {
		return nil
	}
	if last.Cut > 0 {
		s.logger.Warn("the last stop cut requests off: --drain-timeout was too short for them", "requests", last.Cut, "at", last.At)
	}
	return &last
}

// writeLastStop tells the next serai how many requests were cut off.
func (s *system) writeLastStop(cut int) {
	if s.StateDir == "" {
		return
	}
	text, err := json.Marshal(lastStop{cut, time.Now().UTC()})
	if err == nil {
		err = atomicfile.Directory(s.StateDir)
	}
	if err == nil {
		err = atomicfile.Replace(lastStopFile(s.StateDir), text, false)
	}
	if err != nil {
		s.logger.Warn("the state directory cannot be written", "error", fmt.Errorf("last stop: %w", err))
	}
}
