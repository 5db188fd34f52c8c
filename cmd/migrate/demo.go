package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/simfleet"
)

type demoOptions struct {
	serve       bool
	instances   int
	seed        uint64
	addr        string
	unreachable int
	noThrottle  bool
	pace        float64 // 0: as AWS
	mendable    bool
	owned       bool
	dir         string
	plain       bool // the wizard line by line, also without a terminal
	faults      []string
	story       bool // times are such that the whole way takes ten minutes
	healthy     bool // a fleet in which nothing is wrong; tests inject causes into it
}

func (a *app) demoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Try everything on a simulated fleet, without an AWS account",
		Long: `demo makes a simulated fleet on this machine: an AWS endpoint and hosts with SSH servers, all on
loopback. On a terminal it opens the wizard on it. Elsewhere it runs inventory and readiness, prints
the summary, and leaves the HTML report.

With --serve it prints export lines for another terminal, in which migrate, the AWS CLI and ssh can
use the fleet, and runs until it is interrupted. What a cutover needs is in its folder: a policy, a
recovery key, the key of the agent's packages. docs/walkthrough.md leads through it.

The usual fleet has troubles of every kind, and hosts that no plan can close. With --mendable all of
its hosts can be closed. With --owned one team's things carry the tags of Terraform and CloudFormation, and
a plan leaves them to these (docs/plan.md).

With --fault something breaks while a plan is carried out, most of it in the first wave of several
hosts; ! in the wizard and migrate demo fault break things at once (--fault help lists them all). Waits are
short in the demo's policy: waves are watched for seconds, a dead man's switch waits five minutes.`,
		Example: `  migrate demo                              # docs/guide.md leads through it
  migrate demo --fault agent-dies           # and see the wave roll back
  migrate demo --serve --mendable           # for commands in other terminals
  migrate demo fault ssm-outage             # in another terminal, while a demo runs
  eval "$(migrate demo env)"                # there, too: every command now means the demo's fleet`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if slices.Contains(o.faults, "help") {
				_, err := fmt.Fprintln(a.out, faultList())
				return err
			}
			o.story = true
			if !cmd.Flags().Changed("unreachable") && o.serve {
				o.unreachable = 0
			}
			return a.demo(cmd.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.serve, "serve", false, "serve the fleet for other terminals until interrupted")
	f.IntVar(&o.instances, "instances", 60, "how many instances the fleet has")
	f.Uint64Var(&o.seed, "seed", 7, "the same seed makes the same fleet")
	f.StringVar(&o.addr, "addr", "127.0.0.1:0", "loopback address and port of the AWS endpoint")
	f.IntVar(&o.unreachable, "unreachable", 5, "percentage of hosts that are down or refuse the login (with --serve: 0)")
	f.BoolVar(&o.noThrottle, "no-throttle", false, "answer API calls without AWS's rate limits")
	f.Float64Var(&o.pace, "pace", 20, "how many times as fast as AWS the simulated one launches instances and makes endpoints")
	f.BoolVar(&o.mendable, "mendable", false, "a fleet whose troubles are all such that a plan mends them")
	f.BoolVar(&o.owned, "owned", false, "mark what team web has as owned by Terraform and CloudFormation: plans hand it over")
	f.BoolVar(&o.plain, "plain", false, "the wizard line by line, also from a pipe (see migrate wizard)")
	f.StringSliceVar(&o.faults, "fault", nil, "what breaks while a plan is carried out, several by comma; help lists it")
	f.StringVar(&o.dir, "dir", "", "folder for the state file, keys and report (default: a new temporary one)")
	for _, sub := range []*cobra.Command{a.demoFaultCommand(), a.demoEnvCommand()} {
		wrapUsage(sub)
		c.AddCommand(sub)
	}
	return c
}

func (a *app) demo(ctx context.Context, o demoOptions) error {
	var faults []demoFault
	for _, name := range o.faults {
		f, err := findFault(name)
		if err != nil {
			return err
		}
		faults = append(faults, f)
	}
	d, err := startDemo(o)
	if err != nil {
		return fmt.Errorf("start the simulated fleet: %w", err)
	}
	defer d.stop()
	say := func(string) {} // in the wizard the trouble shows itself
	if o.serve {
		say = func(text string) { fmt.Fprintln(a.err, "Fault: "+oneLine(text)) }
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	bringing, cancel := context.WithCancel(ctx)
	defer cancel()
	waiting.Go(func() { d.trouble.bring(bringing, faults, say) })
	if o.serve {
		d.printExports(a.out)
		<-ctx.Done()
		fmt.Fprintln(a.err, "The simulated fleet has stopped.")
		return nil
	}
	if err := d.setenv(); err != nil {
		return err
	}
	a.dbPath, a.configPath = d.db(), d.config()
	if o.plain || a.terminal() {
		return a.runWizard(ctx, wizardOptions{demo: d, plain: o.plain, reportPath: d.report()})
	}
	return a.demoRun(ctx, d)
}

// demoRun does the main job without a terminal. What it finds is the point of
// the demonstration, so blocked and silent hosts are no failure here.
func (a *app) demoRun(ctx context.Context, d *demoFleet) error {
	fmt.Fprintf(a.out, "A simulated fleet of %d instances (seed %d). No AWS account is touched.\n\n", d.options.instances, d.options.seed)
	if err := a.inventory(ctx, nil); err != nil && codeOf(err) != exitIncomplete {
		return err
	}
	fmt.Fprintln(a.out)
	if err := a.readiness(ctx, 0); err != nil && codeOf(err) != exitNotReady && codeOf(err) != exitIncomplete {
		return err
	}
	if err := a.report(ctx, "html", d.report(), 0); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nThe report: %s\nState file, for further commands: --db %s\n", d.report(), d.db())
	return nil
}

// demoFleet is a running simulated fleet and the files that lead to it.
type demoFleet struct {
	options demoOptions
	world   *simfleet.World
	faults  *simfleet.Faults
	hosts   *simfleet.Hosts
	trouble *trouble
	dir     string
	aws     net.Listener
	socks   net.Listener
	close   []func()
}

// demoSecret is the secret access key of the demo.
const demoSecret = "not-a-secret"

func startDemo(o demoOptions) (_ *demoFleet, err error) {
	if err := loopback(o.addr); err != nil {
		return nil, err
	}
	d := &demoFleet{options: o, dir: o.dir, faults: &simfleet.Faults{}}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	if o.instances <= 0 {
		return nil, usageErr("--instances %d is not a number of instances", o.instances)
	}
	if d.world, err = demoWorld(o); err != nil {
		return nil, exitErr{code: exitUsage, err: err}
	}
	if d.dir == "" {
		d.dir, err = os.MkdirTemp("", "migrate-demo-")
	} else {
		err = os.MkdirAll(d.dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return nil, err
	}
	if err := d.listen(); err != nil {
		return nil, err
	}
	return d, d.writeFiles()
}

// loopback refuses to serve the fleet to a network: its keys are no secret.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usageErr("--addr %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usageErr("--addr %q is not a loopback address", addr)
	}
	return nil
}

func (d *demoFleet) listen() (err error) {
	if d.aws, err = net.Listen("tcp", d.options.addr); err != nil {
		return err
	}
	hosts := simfleet.NewHosts(d.world, simfleet.HostOptions{})
	d.hosts = hosts
	d.close = append(d.close, hosts.Close)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.world.Run(ctx) })
	d.close = append(d.close, func() { cancel(); running.Wait() })
	handler, err := d.control(simfleet.ServeAWS(d.world, simfleet.AWSOptions{NoThrottle: d.options.noThrottle, Faults: d.faults, Hosts: hosts, Secret: demoSecret}))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() { _ = server.Serve(d.aws) }() // ends with Close
	d.close = append(d.close, func() { _ = server.Close() })
	host, _, err := net.SplitHostPort(d.options.addr)
	if err != nil {
		return err
	}
	if d.socks, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return err
	}
	go func() { _ = hosts.ServeSOCKS(context.Background(), d.socks) }() // ends with Close
	d.close = append(d.close, func() { _ = d.socks.Close() })
	return nil
}

// stop ends the servers; the folder stays, since the report is in it.
func (d *demoFleet) stop() {
	for _, f := range d.close {
		f()
	}
	d.close = nil
}

type variable struct{ name, value string }

// env are the ordinary settings through which any AWS client finds the fleet.
func (d *demoFleet) env() []variable {
	return []variable{
		{"AWS_ENDPOINT_URL", "http://" + d.aws.Addr().String()},
		{"AWS_REGION", d.world.Accounts[0].Regions[0].Name},
		{"AWS_DEFAULT_REGION", d.world.Accounts[0].Regions[0].Name},
		{"AWS_ACCESS_KEY_ID", simfleet.AccessKey(d.world.Accounts[0].ID)},
		{"AWS_SECRET_ACCESS_KEY", demoSecret},
		{"AWS_EC2_METADATA_DISABLED", "true"},
		{"MIGRATE_DB", d.db()},
		{"MIGRATE_CONFIG", d.config()},
	}
}

// foreign are variables that would lead an AWS client elsewhere.
var foreign = []string{"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}

func (d *demoFleet) setenv() error {
	var errs []error
	for _, name := range foreign {
		errs = append(errs, os.Unsetenv(name))
	}
	for _, v := range d.env() {
		errs = append(errs, os.Setenv(v.name, v.value))
	}
	return errors.Join(errs...)
}

func (d *demoFleet) printExports(w io.Writer) {
	fmt.Fprintf(w, "# A simulated fleet of %d instances (seed %d). In another terminal:\n", d.options.instances, d.options.seed)
	d.printEnv(w)
	fmt.Fprintln(w, "# migrate inventory && migrate readiness")
	fmt.Fprintln(w, "# aws ec2 describe-instances --endpoint-url $AWS_ENDPOINT_URL")
	fmt.Fprintf(w, "# ssh -F %s ADDRESS        (an address that migrate hosts shows)\n", d.openSSH())
	fmt.Fprintln(w, "# aws ssm start-session --endpoint-url $AWS_ENDPOINT_URL --target ID        (with AWS's session-manager-plugin)")
	fmt.Fprintln(w, "# migrate demo fault        (breaks something)")
	fmt.Fprintln(w, "# Interrupt with Ctrl-C.")
}

// printEnv prints what a shell needs to use the fleet.
func (d *demoFleet) printEnv(w io.Writer) {
	fmt.Fprintf(w, "unset %s\n", strings.Join(foreign, " "))
	for _, v := range d.env() {
		fmt.Fprintf(w, "export %s=%s\n", v.name, shellWord(v.value))
	}
}

func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+=,-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
