package sshhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// defaultIdentities are OpenSSH's key files where ssh_config names none.
var defaultIdentities = []string{
	"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519",
	"~/.ssh/id_ed25519_sk", "~/.ssh/id_xmss", "~/.ssh/id_dsa",
}

// askSSH replaces o's values by what "ssh -G" says of the alias, for blocks
// that only OpenSSH's client can evaluate.
func (c *Client) askSSH(ctx context.Context, o *options, alias string) error {
	found, err := c.runSSHG(ctx, alias)
	if err != nil {
		return err
	}
	by := ""
	if o.alias == alias {
		by = alias
	}
	named := o.first("user") != ""
	o.values, o.by = map[string][]string{}, map[string]string{}
	for key, values := range found {
		if key == "user" && values[0] == c.env.user && !named {
			o.lastUser = values[0] // named by the file or the default: it does not say
			continue
		}
		if !sshGDefault(key, values, alias) {
			o.values[key], o.by[key] = values, by
		}
	}
	return nil
}

func (c *Client) runSSHG(ctx context.Context, alias string) (map[string][]string, error) {
	select {
	case c.forks <- struct{}{}:
		defer func() { <-c.forks }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	cmd := exec.CommandContext(ctx, "ssh", slices.Concat([]string{"-G"}, c.config.args, []string{"--", alias})...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = killDelay
	if err := cmd.Run(); err != nil {
		var missing *exec.Error
		if errors.As(err, &missing) {
			return nil, fmt.Errorf("ssh_config has Match lines that only OpenSSH's client can evaluate, and it cannot be run: %w", err)
		}
		return nil, errors.New(joinDetail("ssh -G "+alias, err.Error(), clean(stderr.String(), 200)))
	}
	return parseSSHG(stdout.String()), nil
}

// parseSSHG reads the output of "ssh -G": a keyword and its value per line.
func parseSSHG(out string) map[string][]string {
	values := map[string][]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		key = strings.ToLower(key)
		every, ok := honoured[key]
		if ok && value != "" && (every || values[key] == nil) {
			values[key] = append(values[key], value)
		}
	}
	return values
}

// sshGDefault reports whether a value only repeats a default of OpenSSH's
// client. It prints those as well; where we know better than a default, ours is taken.
func sshGDefault(key string, values []string, alias string) bool {
	switch v := values[0]; key {
	case "hostname":
		return strings.EqualFold(v, alias)
	case "port":
		return v == "22"
	case "connecttimeout":
		return v == "none"
	case "stricthostkeychecking":
		return v == "ask"
	case "identityfile":
		return !slices.ContainsFunc(values, func(f string) bool { return !slices.Contains(defaultIdentities, f) })
	}
	return false
}
