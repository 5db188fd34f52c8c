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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// streams are the process's standard streams, so that a test can have its own.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}
