package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

func (d *demoFleet) db() string     { return filepath.Join(d.dir, "migrate.db") }
func (d *demoFleet) config() string { return filepath.Join(d.dir, "migrate.yaml") }
func (d *demoFleet) report() string { return filepath.Join(d.dir, "report.html") }

// openSSH is an ssh_config for OpenSSH itself, which needs nc for the proxy.
func (d *demoFleet) openSSH() string { return filepath.Join(d.dir, "openssh_config") }

func (d *demoFleet) writeFiles() error {
	files := d.world.OperatorFiles(d.socks.Addr().String(), d.dir)
	sshConfig, known := filepath.Join(d.dir, "ssh_config"), filepath.Join(d.dir, simfleet.OperatorKnownHostsFile)
	var regions []string
	for _, r := range d.world.Accounts[0].Regions {
		regions = append(regions, r.Name)
	}
	rate := ""
	if d.options.noThrottle {
		rate = "aws: # the simulated AWS was started without rate limits\n  connection_rate: 10000\n  session_rate: 10000\n  ec2_read_rate: 10000\n  ec2_change_rate: 10000\n"
	}
	config := fmt.Sprintf(`# Configuration of migrate for the simulated fleet.
accounts:
  - label: demo
    regions: [%s]
%sssh:
  concurrency: 8 # the hosts share this machine's processors with migrate
  config_file: %s
  known_hosts: [%s]
  proxy: socks5://%s
recovery:
  key_file: %s # not encrypted: it opens simulated hosts alone
hosts_by: [ssh, run-command] # an inventory reads hosts by Run Command where SSH is closed
agent:
  signing_key_file: %s
copy:
  bucket: %s
`, strings.Join(regions, ", "), rate, sshConfig, known, d.socks.Addr(), demoRecoveryKey, demoSigningKey, demoCopyBucket)
	if err := d.recoveryKey(); err != nil {
		return err
	}
	owners, err := d.owners()
	if err != nil {
		return err
	}
	texts := map[string]string{
		filepath.Join(d.dir, defaultOwnersFile):        owners,
		filepath.Join(d.dir, simfleet.OperatorKeyFile): string(files.PrivateKey),
		known:                                   files.KnownHosts,
		sshConfig:                               files.SSHConfig,
		d.openSSH():                             files.OpenSSHConfig,
		d.config():                              config,
		filepath.Join(d.dir, demoSigningKey):    simfleet.AgentSigningKey(),
		filepath.Join(d.dir, defaultPolicyFile): fmt.Sprintf(demoPolicy, d.waits(), netip.PrefixFrom(simfleet.OperatorAddr, 32)),
	}
	for name, key := range files.HostKeys {
		texts[filepath.Join(d.dir, name)] = string(key)
	}
	for path, text := range texts {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// owners is the owners file of those whom anybody in the simulated company
// would name. The inventory's own key is nobody's: it is left out, so that its
// logins are known as the inventory's. In the healthy fleet, which causes are
// injected into, it is somebody's.
func (d *demoFleet) owners() (string, error) {
	var f ownersFile
	for _, o := range d.world.Owners() {
		if o.Person == simfleet.OperatorUser && !d.options.healthy {
			continue
		}
		f.Owners = append(f.Owners, ownerEntry(o))
	}
	text, err := yaml.Dump(f)
	if err != nil {
		return "", fmt.Errorf("write the owners file: %w", err)
	}
	return "# Whose SSH keys are whose in the simulated fleet (docs/owners.md).\n" + string(text), nil
}

// Files of the demo's folder that a cutover needs.
const (
	demoRecoveryKey = "recovery_key"
	demoSigningKey  = "agent-signing-key.asc"
)

// demoCopyBucket is the bucket that copies pass through.
const demoCopyBucket = "demo-migrate-copies"

// waits are the policy's times: such that a story fits ten minutes, or what
// tests have time for.
func (d *demoFleet) waits() string {
	if d.options.story {
		return `soak: 10s               # how long a wave is watched; 30m is the default, nobody wants to wait in a demo
timer: 5m               # after which a dead man's switch opens a door again; 15m is the default, 5m the least`
	}
	return "soak: 2s                # nobody wants to wait in a demo; 30m is the default"
}

// demoPolicy wants the times and the operator's addresses.
const demoPolicy = `# How the simulated fleet is cut over. docs/plan.md explains every key, and migrate plan
# --policy-template prints all of them with their defaults.

canary: 1               # one host first
waves: ["25%%", "75%%"]   # then a quarter of the fleet, then the rest
%s
concurrency: 32         # lanes at once; the simulated hosts are many and patient

# The two that protect people. In the simulated company many still come by SSH, and few have
# been given sessions: with true here, most doors stay open, and the plan names those people.
require_silent: false   # true: hosts that somebody still uses over SSH keep their doors
require_access: false   # true: hosts on which somebody in the owners file would lose access keep theirs

split_wide_rules: true  # rules for all protocols are replaced by such as leave port 22 out

recovery: # the second way in, without which nothing is closed; its key is noted in the state file
  from: [%s] # where the operator of the demo sits
`

// recoveryKey makes the recovery key and notes it in the state file, as migrate
// recovery init does. What the folder has of an earlier demo stays.
func (d *demoFleet) recoveryKey() (err error) {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, d.db())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	keys, err := db.RecoveryKeys(ctx)
	if _, ok := fleet.CurrentRecoveryKey(keys); ok || err != nil {
		return err
	}
	place := recoveryConfig{Store: storeFile, KeyFile: filepath.Join(d.dir, demoRecoveryKey)}
	_, err = os.Stat(place.KeyFile)
	store := &seal.KeyFile{Path: place.KeyFile, Bare: true, Comment: recoveryComment}
	_, _, err = makeRecoveryKey(ctx, db, store, recoveryInit{place: place, adopt: err == nil})
	return err
}
