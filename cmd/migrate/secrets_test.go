package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/simfleet"
)

// secretHunt looks for secrets in all that the program shows and leaves.
type secretHunt struct {
	*ownFleet
	t       *testing.T
	work    string            // folder of the test's own files
	seen    bytes.Buffer      // all output, command lines and environments
	secrets map[string][]byte // what must not be found, by what it is
	own     []string          // files that hold secrets by intention
	main    string            // state file of the fleet whose hosts have the recovery key
	changer *awsapi.Changer
}

const huntedPhrase = "Tr0ub4dor-and-3-horses"

func newSecretHunt(t *testing.T) *secretHunt {
	t.Helper()
	h := &secretHunt{ownFleet: ownSim(t, fleetOf(4)), t: t, work: t.TempDir(), secrets: map[string][]byte{"passphrase": []byte(huntedPhrase)}}
	h.env = append(h.env, "TMPDIR="+h.work)
	h.own = []string{h.file("phrase", huntedPhrase+"\n"), filepath.Join(h.dir, demoRecoveryKey), filepath.Join(h.dir, simfleet.OperatorKeyFile)}
	return h
}

func (h *secretHunt) file(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.work, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// remember adds the private parts of a ring to what must not be found, in the
// forms in which they might be.
func (h *secretHunt) remember(name string, ring [][]byte) {
	h.t.Helper()
	for i, text := range ring {
		key, err := ssh.ParseRawPrivateKey(text)
		if err != nil {
			h.t.Fatal(err)
		}
		seed := key.(*ed25519.PrivateKey).Seed()
		name := fmt.Sprintf("%s key %d", name, i)
		h.secrets[name+", raw"] = seed
		h.secrets[name+", hex"] = []byte(hex.EncodeToString(seed))
		h.secrets[name+", base64"] = []byte(base64.StdEncoding.EncodeToString(seed)[:42])
		h.secrets[name+", PEM"] = []byte(strings.Split(string(text), "\n")[3])
		if !bytes.Contains(text, h.secrets[name+", PEM"]) || len(h.secrets[name+", PEM"]) < 60 {
			h.t.Fatal("the PEM text is not as this test takes it to be")
		}
	}
}

// run runs the program, and keeps its output, its command line and environment
// and those of the processes that it starts.
func (h *secretHunt) run(allowed []int, db string, args ...string) string {
	h.t.Helper()
	c := h.program(args...)
	c.Env = append(c.Env, "MIGRATE_DB="+db)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	stop := make(chan struct{})
	var watching sync.WaitGroup
	seen := map[string]bool{}
	watching.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			watch(c.Process.Pid, seen)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	err := c.Wait()
	close(stop)
	watching.Wait()
	for text := range seen {
		h.seen.WriteString(text)
	}
	h.seen.Write(out.Bytes())
	h.seen.Write(errs.Bytes())
	if code := c.ProcessState.ExitCode(); err != nil && !slices.Contains(allowed, code) || err == nil && len(allowed) > 0 && !slices.Contains(allowed, 0) {
		h.t.Fatalf("%s: exit code %d, want %v\n%s%s", strings.Join(args, " "), code, allowed, out.Bytes(), errs.Bytes())
	}
	return out.String() + errs.String()
}

// watch notes the command lines and environments of a process and its children.
func watch(pid int, seen map[string]bool) {
	at := "/proc/" + strconv.Itoa(pid)
	for _, name := range []string{"/cmdline", "/environ"} {
		if text, err := os.ReadFile(at + name); err == nil {
			seen[string(text)] = true
		}
	}
	threads, _ := filepath.Glob(at + "/task/*/children")
	for _, list := range threads {
		text, _ := os.ReadFile(list)
		for _, f := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				watch(child, seen)
			}
		}
	}
}

// search looks through everything.
func (h *secretHunt) search() {
	h.t.Helper()
	files := 0
	look := func(where string, text []byte) {
		for name, secret := range h.secrets {
			if bytes.Contains(text, secret) {
				h.t.Errorf("%s: found the %s", where, name)
			}
		}
	}
	look("output, command lines and environments", h.seen.Bytes())
	for _, root := range []string{h.work, h.dir} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || slices.Contains(h.own, path) {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			look(path, text)
			return err
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if files < 10 || h.seen.Len() < 10_000 {
		h.t.Errorf("only %d files and %d bytes were looked through", files, h.seen.Len())
	}
}

// configure writes a configuration that keeps the recovery key elsewhere.
func (h *secretHunt) configure(name string, r map[string]string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.config())
	if err != nil {
		h.t.Fatal(err)
	}
	section := "recovery:\n"
	for _, k := range slices.Sorted(maps.Keys(r)) {
		section += "  " + k + ": " + r[k] + "\n"
	}
	changed := regexp.MustCompile(`(?m)^recovery:\n  key_file:.*\n`).ReplaceAllString(string(text), section)
	if changed == string(text) {
		h.t.Fatal("the demo's configuration names no recovery key")
	}
	path := filepath.Join(h.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// hunted is a place of the recovery key.
type hunted struct {
	flags  []string          // of recovery init
	config map[string]string // of migrate.yaml, as recovery init prints it
	store  func(config map[string]string) seal.Store
	spoil  func(config map[string]string) // brings it about that the place does not open
	says   string                         // of a place that does not open
}

func (h *secretHunt) places() map[string]hunted {
	phrase, wrong := filepath.Join(h.work, "phrase"), h.file("wrong", "not it\n")
	said := func() ([]byte, error) { return []byte(huntedPhrase), nil }
	id, err := age.GenerateX25519Identity()
	if err != nil {
		h.t.Fatal(err)
	}
	identity, recipients := h.file("identity", id.String()+"\n"), h.file("recipients", id.Recipient().String()+"\n")
	h.own = append(h.own, identity)
	h.secrets["age identity"] = []byte(id.String())
	key := h.world.Accounts[0].Regions[0].Keys[0].ARN
	for _, v := range h.demoFleet.env() {
		h.t.Setenv(v.name, v.value)
	}
	account, err := awsapi.Open(h.t.Context(), awsapi.Access{}, awsapi.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.changer = awsapi.NewChanger(account)
	vault := awsapi.NewVault(h.changer)
	deny := func(service string) func(map[string]string) {
		return func(map[string]string) { h.faults.Set(simfleet.Fault{Service: service, Kind: simfleet.FaultDeny}) }
	}
	mistype := func(c map[string]string) { c["passphrase_file"] = wrong }
	at := func(name string) string { return filepath.Join(h.work, name) }
	return map[string]hunted{
		"file": {
			flags:  []string{"--store", "file", "--file", at("key"), "--passphrase-file", phrase},
			config: map[string]string{"store": "file", "key_file": at("key"), "passphrase_file": phrase},
			store:  func(c map[string]string) seal.Store { return &seal.KeyFile{Path: c["key_file"], Passphrase: said} },
			spoil:  mistype, says: "passphrase is wrong",
		},
		"age by passphrase": {
			flags:  []string{"--store", "age", "--file", at("phrase.age"), "--passphrase-file", phrase},
			config: map[string]string{"store": "age", "key_file": at("phrase.age"), "passphrase_file": phrase},
			store:  func(c map[string]string) seal.Store { return &seal.AgeFile{Path: c["key_file"], Passphrase: said} },
			spoil:  mistype, says: "passphrase is wrong",
		},
		"age for recipients": {
			flags:  []string{"--store", "age", "--file", at("to.age"), "--recipients", recipients, "--identity", identity},
			config: map[string]string{"store": "age", "key_file": at("to.age"), "recipients_file": recipients, "identity_files": "[" + identity + "]"},
			store: func(c map[string]string) seal.Store {
				return &seal.AgeFile{Path: c["key_file"], Recipients: recipients, Identities: []string{identity}}
			},
			spoil: func(c map[string]string) { delete(c, "identity_files") }, says: "identity_files",
		},
		"KMS": {
			flags:  []string{"--store", "kms", "--file", at("kms"), "--kms-key", key},
			config: map[string]string{"store": "kms", "key_file": at("kms"), "kms_key": key},
			store:  func(c map[string]string) seal.Store { return &seal.KMSFile{Path: c["key_file"], Key: key, Keys: vault} },
			spoil:  deny("kms"), says: "kms:Decrypt",
		},
		"Secrets Manager": {
			flags:  []string{"--store", "secrets-manager", "--secret", "migrate/key", "--region", "eu-central-1", "--ca"},
			config: map[string]string{"store": "secrets-manager"},
			store:  func(c map[string]string) seal.Store { return &seal.Secret{Secrets: vault, ARN: c["secret"]} },
			spoil:  deny("secretsmanager"), says: "secretsmanager:GetSecretValue",
		},
	}
}

// Wherever the recovery key is kept, and whatever goes well or wrong, neither it
// nor what opens it is found in the state file, the journal, output of any
// form, a command line, an environment or a file that was left.
func TestNoSecretIsFoundAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program, which shows the race detector nothing")
	}
	if ownProcess(t) {
		return
	}
	h := newSecretHunt(t)
	places := h.places()
	h.main = h.db()
	main := h.main

	// A fleet with the recovery key of the first place on its hosts.
	first := places["file"]
	first.config = maps.Clone(first.config)
	first.config["key_file"] = filepath.Join(h.work, "first")
	h.run(nil, main, "recovery", "init", "--replace", "--store", "file", "--file", first.config["key_file"], "--passphrase-file", first.config["passphrase_file"])
	ring, err := first.store(first.config).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.remember("first", ring)
	h.watchHooks()
	config := h.configure("first", first.config)
	h.run(nil, main, "--config", config, "inventory", "--json")
	p := decode[plan.Plan](t, []byte(h.run([]int{exitFine, exitIncomplete}, main, "--config", config, "plan", "--json")))
	h.run(nil, main, "--config", config, "apply", p.ID, "--yes", "--wave", "1")

	for _, name := range slices.Sorted(maps.Keys(places)) {
		h.tryPlace(name, places[name], ring)
	}

	// A login that the host refuses.
	h.runOnHosts(p.Waves[1], "rm -f /root/.ssh/authorized_keys* /home/*/.ssh/authorized_keys*")
	h.drill(config, []int{exitNotReady}, "is refused for account")
	h.run(nil, main, "journal")
	h.search()
}

// drill logs in by the recovery way.
func (h *secretHunt) drill(config string, codes []int, want string) {
	h.t.Helper()
	if said := h.run(codes, h.main, "--config", config, "recovery", "drill", "--yes", "--json"); !strings.Contains(said, want) {
		h.t.Errorf("a drill with %s does not say %q:\n%s", config, want, said)
	}
}

// runOnHosts runs a script on the hosts of a wave.
func (h *secretHunt) runOnHosts(w plan.Wave, script string) {
	h.t.Helper()
	hosts := map[string]bool{}
	for _, s := range w.Steps {
		for _, ref := range s.Hosts {
			hosts[ref.ID] = true
		}
	}
	for in := range h.world.Instances() {
		if hosts[in.Host.ID] {
			got := awsapi.NewCommands(h.changer).Run(h.t.Context(), in.Host, fleet.WaySessionManager, fleet.Script{Name: "break", Text: script})
			if !got.Ended || got.Exit != 0 {
				h.t.Fatalf("%+v", got)
			}
		}
	}
}

// watchHooks has the program run commands of the operator, which note what they
// are told.
func (h *secretHunt) watchHooks() {
	h.t.Helper()
	path := filepath.Join(h.dir, defaultPolicyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	noted := filepath.Join(h.work, "noted-by-hook")
	text = fmt.Appendf(text, "hooks:\n  before_wave: 'cat /proc/$PPID/cmdline /proc/$PPID/environ /proc/self/environ >> %s'\n", noted)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if info, err := os.Stat(noted); err != nil || info.Size() < 500 {
			h.t.Errorf("the hook has noted nothing: %v", err)
		}
	})
}

// tryPlace makes a key in a place, and uses the place well and badly. Ring is
// what the fleet's hosts take.
func (h *secretHunt) tryPlace(name string, p hunted, ring [][]byte) {
	t := h.t
	t.Helper()
	own := filepath.Join(h.work, strings.ReplaceAll(name, " ", "-")+".db")
	said := h.run(nil, own, append([]string{"recovery", "init"}, p.flags...)...)
	if found := regexp.MustCompile(`(?m)^  secret: (\S+)$`).FindStringSubmatch(said); found != nil {
		p.config["secret"] = found[1]
	}
	if !strings.Contains(said, "  store: "+p.config["store"]+"\n") {
		t.Errorf("%s: init does not say what to configure:\n%s", name, said)
	}
	store := p.store(p.config)
	fresh, err := store.Load(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	h.remember(name, fresh)
	config := h.configure(strings.ReplaceAll(name, " ", "-"), p.config)
	h.run([]int{exitUsage}, own, append([]string{"recovery", "init"}, p.flags...)...)
	adopted := decode[fleet.RecoveryKey](t, []byte(h.run(nil, own+"2", "--config", config, "recovery", "init", "--adopt", "--json")))
	if line, err := seal.PublicLine(fresh[0]); err != nil || !strings.HasPrefix(adopted.Line, line) {
		t.Errorf("%s: adopted %q, made %q (%v)", name, adopted.Line, line, err)
	}

	if err := store.Save(t.Context(), ring); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	h.drill(config, []int{exitFine}, `"works": "yes"`)
	p.spoil(p.config)
	defer h.faults.Set()
	bad := h.configure("spoiled", p.config)
	h.drill(bad, []int{exitError}, p.says)
	if said := h.run([]int{exitError}, own+"3", "--config", bad, "recovery", "init", "--adopt"); !strings.Contains(said, p.says) {
		t.Errorf("%s: adopting a place that does not open does not say %q:\n%s", name, p.says, said)
	}
}
