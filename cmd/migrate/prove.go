package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

// proofKinds are the values of --type.
var proofKinds = []struct {
	name string
	kind awsapi.ProofKind
}{{"shell", awsapi.ProofShell}, {"command", awsapi.ProofCommand}, {"port", awsapi.ProofPort}, {"ssh", awsapi.ProofSSH}}

func proofKindNames() []string {
	var names []string
	for _, k := range proofKinds {
		names = append(names, k.name)
	}
	return names
}

type proveQuery struct {
	hosts       []string
	kind        string
	concurrency int
	noLog       bool
}

func (a *app) proveCommand() *cobra.Command {
	var q proveQuery
	c := &cobra.Command{
		Use:   "prove [HOST...]",
		Short: "Open real sessions to prove that Session Manager works",
		Long: `prove opens a real Session Manager session on each host, has it answer, ends it, and stores the
proof: whether it worked, how long it took, as which account it ran, and whether the session's log
arrived where the preferences want it. Nothing on the hosts is changed.

HOST is an instance ID, a Name tag, or a pattern of them (web-*), from the latest snapshot. Without
any, every running Linux host that is a managed node is proved.

  shell     types a command into the shell of the session preferences and reads its answer
  command   has AWS-StartInteractiveCommand run the command
  port      reads the SSH server's greeting by AWS-StartPortForwardingSession
  ssh       reads it by AWS-StartSSHSession

AWS lets 3 sessions a second begin in one account and Region.

Exit code 3: sessions do not work on a host. Exit code 4: on none they are known not to, but on some
it could not be told.`,
		Example: `  migrate prove                     # every managed node
  migrate prove web-1 'db-*'
  migrate prove --type ssh i-0123456789abcdef0`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.hosts = args
			return a.prove(cmd.Context(), q)
		},
	}
	c.Flags().StringVar(&q.kind, "type", "shell", "kind of session: "+strings.Join(proofKindNames(), ", "))
	c.Flags().IntVar(&q.concurrency, "concurrency", 8, "how many sessions are open at once")
	c.Flags().BoolVar(&q.noLog, "no-log", false, "do not wait for the sessions' logs")
	if err := c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(proofKindNames(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was defined just above
	}
	return c
}

// proofStore keeps proofs.
type proofStore interface {
	SaveProof(ctx context.Context, p fleet.Proof) error
}

// prover proves one way into a host.
type prover interface {
	Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof
}

// proveResult is what prove --json prints.
type proveResult struct {
	Snapshot int64         `json:"snapshot"`
	Proofs   []fleet.Proof `json:"proofs"`
}

func (a *app) prove(ctx context.Context, q proveQuery) error {
	at := slices.Index(proofKindNames(), q.kind)
	switch {
	case at < 0:
		return usageErr("--type: %q is none of %s", q.kind, strings.Join(proofKindNames(), ", "))
	case q.concurrency < 1 || q.concurrency > 100:
		return usageErr("--concurrency %d is not from 1 to 100", q.concurrency)
	}
	s, err := a.openStored(ctx, 0)
	if err != nil {
		return err
	}
	defer s.db.Close()
	hosts, err := provable(s.snap, q.hosts)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("snapshot %d has no running Linux host that is a managed node: migrate readiness says what stands in the way", s.snap.ID)
	}
	accounts, err := openAccounts(ctx, s.cfg)
	if err != nil {
		return err
	}
	sessions := awsapi.NewSessions(accounts...)
	fmt.Fprintf(a.err, "Proving %s by sessions of type %s.\n", count(len(hosts), "host", "hosts"), q.kind)
	v := &awsapi.SessionProver{Sessions: sessions, Kind: proofKinds[at].kind}
	if q.noLog {
		v.LogWait = -1
	}
	proofs, err := proveAll(ctx, v, s.db, hosts, q.concurrency)
	if err != nil {
		return err
	}
	if a.json {
		err = writeJSON(a.out, proveResult{Snapshot: s.snap.ID, Proofs: proofs})
	} else {
		err = printProofs(a.out, hosts, proofs)
	}
	if err != nil {
		return err
	}
	return proofVerdict(proofs)
}

// provable are the hosts to prove: the named ones whatever is known of them, or
// all that should have sessions.
func provable(snap *fleet.Snapshot, names []string) ([]fleet.Host, error) {
	if len(names) == 0 {
		var out []fleet.Host
		for _, h := range snap.Hosts {
			if h.Running() && !h.Windows() && h.Node.Known && h.Node.Value.Registered {
				out = append(out, h)
			}
		}
		return out, nil
	}
	var out []fleet.Host
	met := make([]bool, len(names))
	for _, h := range snap.Hosts {
		in := false
		for i, name := range names {
			ok, err := matches(h, name)
			if err != nil {
				return nil, err
			}
			met[i] = met[i] || ok
			in = in || ok
		}
		if in {
			out = append(out, h)
		}
	}
	if i := slices.Index(met, false); i >= 0 {
		return nil, fmt.Errorf("snapshot %d has no host called %s: migrate hosts lists them", snap.ID, oneLine(names[i]))
	}
	return out, nil
}

// matches reports whether a name or pattern means a host.
func matches(h fleet.Host, name string) (bool, error) {
	if named(h, []string{name}) {
		return true, nil
	}
	for _, s := range []string{h.ID, h.Name()} {
		ok, err := path.Match(name, s)
		if err != nil {
			return false, usageErr("%q is no pattern: %w", name, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// proveAll proves hosts side by side and stores each proof as it comes. The
// proofs are in the order of the hosts.
func proveAll(ctx context.Context, v prover, store proofStore, hosts []fleet.Host, concurrency int) ([]fleet.Proof, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	proofs := make([]fleet.Proof, len(hosts))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(concurrency, len(hosts)) {
		workers.Go(func() {
			for i := range next {
				proofs[i] = v.Prove(ctx, hosts[i], fleet.WaySessionManager)
				if ctx.Err() != nil && proofs[i].Works == fleet.TruthUnknown {
					continue // it tells of the interruption alone
				}
				if err := store.SaveProof(context.WithoutCancel(ctx), proofs[i]); err != nil {
					cancel(fmt.Errorf("store the proof of %s: %w", hosts[i].ID, err))
				}
			}
		})
	}
	for i := range hosts {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	return proofs, context.Cause(ctx)
}

func printProofs(w io.Writer, hosts []fleet.Host, proofs []fleet.Proof) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "HOST\tNAME\tWORKS\tROUND TRIP\tRUN AS\tLOG\tREASON")
	for i, p := range proofs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Host.ID, cell(hosts[i].Name()), p.Works, roundTrip(p), dash(cell(p.RunAs)), logColumn(p), dash(oneLine(p.Reason)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	yes, no, unknown := countProofs(proofs)
	fmt.Fprintf(w, "\n%s: %d work, %d do not, %d not known.\n", count(len(proofs), "host", "hosts"), yes, no, unknown)
	if n := lostLogs(proofs); n > 0 {
		fmt.Fprintf(w, "On %s the session's log did not arrive where the preferences want it: its role may lack the rights (log-rights-missing and the like in migrate report).\n", count(n, "host", "hosts"))
	}
	switch {
	case no > 0:
		fmt.Fprintln(w, "Next: see to the reasons above (migrate hosts HOST shows what stands in the way), then prove these hosts again")
	case unknown > 0:
		fmt.Fprintln(w, "Next: prove the hosts that are not known again")
	}
	return nil
}

func roundTrip(p fleet.Proof) string {
	if p.RoundTrip == 0 {
		return "-"
	}
	return p.RoundTrip.Round(time.Millisecond).String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// logColumn tells an unknown answer from a log that nobody wants.
func logColumn(p fleet.Proof) string {
	if p.LogObject == "" {
		return "-"
	}
	return p.Log.String()
}

func lostLogs(proofs []fleet.Proof) int {
	n := 0
	for _, p := range proofs {
		if p.Log == fleet.TruthNo {
			n++
		}
	}
	return n
}

func countProofs(proofs []fleet.Proof) (yes, no, unknown int) {
	for _, p := range proofs {
		switch p.Works {
		case fleet.TruthYes:
			yes++
		case fleet.TruthNo:
			no++
		default:
			unknown++
		}
	}
	return yes, no, unknown
}

func proofVerdict(proofs []fleet.Proof) error {
	switch _, no, unknown := countProofs(proofs); {
	case no > 0:
		return verdict(exitNotReady)
	case unknown > 0:
		return verdict(exitIncomplete)
	}
	return nil
}
