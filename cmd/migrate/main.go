// Command migrate takes a fleet of EC2 instances from SSH access to AWS
// Systems Manager Session Manager without locking anyone out.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "dev"

func main() {
	os.Exit(realMain())
}

func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	defer stop()
	return run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// stopSignals ask the program to come to an end: Ctrl-C, SIGTERM, and a terminal
// that goes away, unless it was started so as to outlive that (nohup).
func stopSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// streams are the process's standard streams, so that a test can have its own.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}
