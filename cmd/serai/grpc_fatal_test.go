package main

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"
)

// The interop tests of grpc-go end the process where they fail: they log, and whoever logs
// a fatal error ends. Here their logger panics first, and the test that ran them fails.
func init() { grpclog.SetLoggerV2(fatalPanics{}) }

// fatalPanics is a logger that keeps nothing but what is fatal.
type fatalPanics struct{}

var _ grpclog.LoggerV2 = fatalPanics{}

// fatal is what it panics with.
type fatal string

func (fatalPanics) Fatal(args ...any)                 { panic(fatal(fmt.Sprint(args...))) }
func (fatalPanics) Fatalln(args ...any)               { panic(fatal(fmt.Sprintln(args...))) }
func (fatalPanics) Fatalf(format string, args ...any) { panic(fatal(fmt.Sprintf(format, args...))) }

func (fatalPanics) Info(...any)             {}
func (fatalPanics) Infoln(...any)           {}
func (fatalPanics) Infof(string, ...any)    {}
func (fatalPanics) Warning(...any)          {}
func (fatalPanics) Warningln(...any)        {}
func (fatalPanics) Warningf(string, ...any) {}
func (fatalPanics) Error(...any)            {}
func (fatalPanics) Errorln(...any)          {}
func (fatalPanics) Errorf(string, ...any)   {}
func (fatalPanics) V(int) bool              { return false }

// survive runs what may log a fatal error, which it returns; empty when there was none.
func survive(do func()) (told string) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case fatal:
			told = string(cause)
		default:
			panic(cause)
		}
	}()
	do()
	return ""
}

// TestGRPCFatalIsSurvived: the process goes on, and what was told is known.
func TestGRPCFatalIsSurvived(t *testing.T) {
	logger := grpclog.Component("interop")
	for _, log := range []func(){func() { logger.Fatal("it is 1") }, func() { logger.Fatalf("it is %d", 1) }, func() { logger.Fatalln("it is 1") }} {
		if told := survive(log); !strings.Contains(told, "it is 1") {
			t.Errorf("told %q", told)
		}
	}
	if told := survive(func() { logger.Error("it is 1") }); told != "" {
		t.Errorf("what is not fatal is told as %q", told)
	}
}
