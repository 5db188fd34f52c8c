package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/tui"
)

// The demo that runs is spoken to over its AWS endpoint, which listens on
// loopback alone. Whoever speaks shows the token that lies in the demo's
// folder, which only its user can read: neither another user of this machine nor a web page has it.
const (
	demoControlFile = "demo-control.json"
	demoEnvFile     = "env.sh"
	demoControlPath = "/-/demo/faults" // no bucket's name begins with "-", so it is no call to S3
	mostControl     = 1 << 16          // bytes of a request or an answer
)

// demoControl leads to a running demo.
type demoControl struct {
	Address string `json:"address"`
	Token   string `json:"token"`
}

// faultRequest asks a running demo to bring faults about, or to end them.
type faultRequest struct {
	Faults []string `json:"faults"` // with End and none: all
	End    bool     `json:"end"`
}

// faultAnswer is what demo fault --json prints.
type faultAnswer struct {
	Happened []string `json:"happened"`
	Active   []string `json:"active"`
	Error    string   `json:"error,omitempty"`
}

// control wraps the AWS side's handler, and writes down how it is spoken to.
func (d *demoFleet) control(aws http.Handler) (http.Handler, error) {
	c := demoControl{Address: d.aws.Addr().String(), Token: rand.Text()}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, demoControlFile)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	d.close = append(d.close, func() { _ = os.Remove(path) }) // it leads nowhere any more
	var env bytes.Buffer
	d.printEnv(&env)
	if err := os.WriteFile(filepath.Join(d.dir, demoEnvFile), env.Bytes(), 0o600); err != nil {
		return nil, err
	}
	d.close = append(d.close, func() { _ = os.Remove(filepath.Join(d.dir, demoEnvFile)) })
	d.trouble = newTrouble(d)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != demoControlPath {
			aws.ServeHTTP(w, r)
			return
		}
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(c.Token)) != 1 || r.Method != http.MethodPost {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		d.serveFaults(w, r)
	}), nil
}

func (d *demoFleet) serveFaults(w http.ResponseWriter, r *http.Request) {
	var q faultRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, mostControl)).Decode(&q); err != nil {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	a := faultAnswer{Happened: []string{}}
	err := func() error {
		if q.End && len(q.Faults) == 0 {
			return d.trouble.end("")
		}
		for _, name := range q.Faults {
			f, err := findFault(name)
			if err == nil && q.End {
				err = d.trouble.end(name)
			} else if err == nil {
				var text string
				text, err = d.trouble.begin(f)
				a.Happened = append(a.Happened, text)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		a.Error = err.Error()
		a.Happened = slices.DeleteFunc(a.Happened, func(s string) bool { return s == "" })
	}
	a.Active = d.trouble.now()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // who asked is gone
}

func (a *app) demoFaultCommand() *cobra.Command {
	var dir string
	var q faultRequest
	c := &cobra.Command{
		Use:   "fault [FAULT...]",
		Short: "Break something in a demo that runs",
		Long: `fault brings trouble into the simulated fleet of a migrate demo that runs in another terminal, at once.
Without a name it lists the faults and which of them are there now. --end takes them away again: those
that are named, or all.

It finds the demo by $MIGRATE_CONFIG, by --dir, or by itself if only one runs. It can speak to demos
alone: there is no such thing for a real fleet.

`,
		Example: `  migrate demo fault                    # lists them
  migrate demo fault agent-dies
  migrate demo fault --end              # all is well again`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if _, err := findFault(name); err != nil {
					return err
				}
			}
			q.Faults = args
			return a.demoFault(cmd.Context(), dir, q)
		},
	}
	c.Long += faultList()
	c.Flags().BoolVar(&q.End, "end", false, "take the faults away again")
	c.Flags().StringVar(&dir, "dir", "", "the demo's folder")
	return c
}

func (a *app) demoEnvCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "env",
		Short: "Print what another terminal needs to use a demo that runs",
		Long: `env prints the export lines with which migrate, the AWS CLI and ssh in another terminal use the simulated
fleet of a migrate demo that runs. Without them commands there would mean your own fleet.

It finds the demo by $MIGRATE_CONFIG, by --dir, or by itself if only one runs.`,
		Example: `  eval "$(migrate demo env)"
  migrate status --watch                # sees what the demo's wizard does`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return usageErr("demo env prints lines for a shell, and no JSON")
			}
			folder, _, err := a.findDemo(cmd.Context(), dir)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(folder, demoEnvFile))
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the demo's folder")
	return c
}

// faultList explains all faults.
func faultList() string {
	var b strings.Builder
	for _, f := range demoFaults {
		fmt.Fprintf(&b, "  %-17s %s;\n  %-17s then: %s\n", f.name, f.what, "", f.see)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (a *app) demoFault(ctx context.Context, dir string, q faultRequest) error {
	answer, err := a.askDemo(ctx, dir, q)
	var none noDemoError
	if errors.As(err, &none) && len(q.Faults) == 0 && !q.End && !a.json {
		fmt.Fprintln(a.out, faultList())
		fmt.Fprintf(a.out, "\n%s\n", none)
		return nil
	}
	if err != nil {
		return err
	}
	if a.json {
		if err := writeJSON(a.out, answer); err != nil {
			return err
		}
	} else {
		a.printFaults(q, answer)
	}
	if answer.Error != "" {
		return errors.New(oneLine(answer.Error))
	}
	return nil
}

func (a *app) printFaults(q faultRequest, answer faultAnswer) {
	if len(q.Faults) == 0 && !q.End {
		fmt.Fprintln(a.out, faultList())
		fmt.Fprintln(a.out)
	}
	for _, text := range answer.Happened {
		fmt.Fprintln(a.out, oneLine(text))
	}
	for _, name := range q.Faults {
		if f, err := findFault(name); err == nil && !q.End && slices.Contains(answer.Active, name) {
			fmt.Fprintf(a.out, "  %s\n", f.see)
		}
	}
	if len(answer.Active) == 0 {
		fmt.Fprintln(a.out, "No fault is there now.")
		return
	}
	fmt.Fprintf(a.out, "Now: %s (migrate demo fault --end takes them away)\n", oneLine(strings.Join(answer.Active, ", ")))
}

// noDemoError says that no demo was found to speak to.
type noDemoError string

func (e noDemoError) Error() string { return string(e) }

// askDemo speaks to the demo that runs.
func (a *app) askDemo(ctx context.Context, dir string, q faultRequest) (faultAnswer, error) {
	_, c, err := a.findDemo(ctx, dir)
	if err != nil {
		return faultAnswer{}, err
	}
	return c.ask(ctx, q)
}

// findDemo gives the folder of the demo that runs, and how it is spoken to.
func (a *app) findDemo(ctx context.Context, dir string) (string, demoControl, error) {
	var folders []string
	switch {
	case dir != "":
		folders = []string{dir}
	case a.configPath != "" && exists(filepath.Join(filepath.Dir(a.configPath), demoControlFile)):
		folders = []string{filepath.Dir(a.configPath)}
	default:
		found, err := filepath.Glob(filepath.Join(os.TempDir(), "migrate-demo-*", demoControlFile))
		if err != nil {
			return "", demoControl{}, err
		}
		for _, f := range found {
			folders = append(folders, filepath.Dir(f))
		}
	}
	var live []demoControl
	var alive []string
	for _, f := range folders {
		c, err := readControl(f)
		if err == nil {
			_, err = c.ask(ctx, faultRequest{})
		}
		if err == nil {
			live, alive = append(live, c), append(alive, f)
		}
	}
	switch len(live) {
	case 0:
		return "", demoControl{}, noDemoError("no demo runs here that could be spoken to: start one with migrate demo, or name its folder with --dir")
	case 1:
		return alive[0], live[0], nil
	}
	return "", demoControl{}, usageErr("%d demos run: name the folder of one with --dir (%s)", len(live), strings.Join(alive, ", "))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readControl reads how a demo is spoken to. What it leads to must be loopback:
// the file is somebody's word.
func readControl(dir string) (demoControl, error) {
	var c demoControl
	f, err := os.Open(filepath.Join(dir, demoControlFile))
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }()
	if err := json.NewDecoder(io.LimitReader(f, mostControl)).Decode(&c); err != nil {
		return c, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return c, loopback(c.Address)
}

func (c demoControl) ask(ctx context.Context, q faultRequest) (faultAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var a faultAnswer
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.Address+demoControlPath, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	client := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}} // loopback needs no proxy
	answer, err := client.Do(r)
	if err != nil {
		return a, fmt.Errorf("speak to the demo: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return a, fmt.Errorf("speak to the demo: it answered %s", answer.Status)
	}
	return a, json.NewDecoder(io.LimitReader(answer.Body, mostControl)).Decode(&a)
}

// wizardFaults are the faults as the wizard offers them, and how it brings one about.
func (d *demoFleet) wizardFaults() ([]tui.Fault, func(context.Context, string) (string, error)) {
	var all []tui.Fault
	for _, f := range demoFaults {
		all = append(all, tui.Fault{Name: f.name, Argument: f.name, Text: f.what, See: f.see})
	}
	all = append(all, tui.Fault{Name: "end", Argument: "--end", Ends: true, Text: "all faults are taken away again"})
	return all, func(_ context.Context, name string) (string, error) {
		if name == "end" {
			return "No fault is there any more.", d.trouble.end("")
		}
		f, err := findFault(name)
		if err != nil {
			return "", err
		}
		return d.trouble.begin(f)
	}
}
