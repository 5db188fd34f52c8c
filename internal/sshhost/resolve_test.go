package sshhost

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
)

// reach is what can be told of a target without connecting.
type reach struct {
	Address string
	Users   string
	Via     string
	Command string
	Alias   string
}

func clientWith(t testing.TB, config string, cfg Config) *Client {
	t.Helper()
	cfg.ConfigFile = filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(cfg.ConfigFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func webHost() fleet.Host {
	return fleet.Host{
		ID: "i-0aa", Tags: map[string]string{"Name": "web-1"}, PrivateDNS: "ip-10-0-0-5.ec2.internal",
		PrivateIP: netip.MustParseAddr("10.0.0.5"), PublicIP: netip.MustParseAddr("203.0.113.5"),
	}
}

func TestTargetFollowsSSHConfig(t *testing.T) {
	for _, test := range []struct {
		what, config string
		cfg          Config
		host         fleet.Host
		want         reach
	}{
		{what: "no configuration", cfg: Config{Users: []string{"ec2-user", "ubuntu"}},
			want: reach{Address: "10.0.0.5:22", Users: "ec2-user ubuntu", Alias: "10.0.0.5"}},
		{what: "instance ID", config: "Host i-0aa\nUser a\nPort 2222", want: reach{Address: "10.0.0.5:2222", Users: "a", Alias: "i-0aa"}},
		{what: "name tag", config: "Host web-?\n  User a\n", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "web-1"}},
		{what: "private address", config: "Host=10.0.*\n\tUser=a\n", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "10.0.0.5"}},
		{what: "private DNS name", config: "Host *.ec2.internal\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "ip-10-0-0-5.ec2.internal"}},
		{what: "several names at once, the first value wins", config: "Host web-1\nUser a\nHost 10.*\nUser b\nPort 23\nHost *\nPort 24",
			want: reach{Address: "10.0.0.5:23", Users: "a", Alias: "web-1"}},
		{what: "a negated pattern excludes by any name", config: "Host !web-1 10.*\nUser a\nHost *\nUser b", want: reach{Address: "10.0.0.5:22", Users: "b", Alias: "10.0.0.5"}},
		{what: "quotes, tabs and comments", config: "Host\t\"web-1\"\tother # c\nUser \"a\" # d\n", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "web-1"}},
		{what: "HostName for the instance ID", config: "Host i-0aa\nHostName %h.example.com\nUser a", want: reach{Address: "i-0aa.example.com:22", Users: "a", Alias: "i-0aa"}},
		{what: "HostName for the name tag, the host's own", config: "Host web-1\nHostName 203.0.113.5\nUser a", want: reach{Address: "203.0.113.5:22", Users: "a", Alias: "web-1"}},
		{what: "HostName for the name tag, another host's", config: "Host web-1\nHostName 10.9.9.9\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "web-1"}},
		{what: "public address", cfg: Config{Users: []string{"a"}, Address: AddressPublic}, want: reach{Address: "203.0.113.5:22", Users: "a", Alias: "203.0.113.5"}},
		{what: "auto without a bastion", cfg: Config{Users: []string{"a"}, Address: AddressAuto}, want: reach{Address: "203.0.113.5:22", Users: "a", Alias: "203.0.113.5"}},
		{what: "auto with a bastion", cfg: Config{Users: []string{"a"}, Address: AddressAuto, Jump: "b"}, want: reach{Address: "10.0.0.5:22", Users: "a", Via: "b", Alias: "203.0.113.5"}},
		{what: "IPv6 only", cfg: Config{Users: []string{"a"}}, host: fleet.Host{ID: "i-6", Interfaces: []fleet.NetworkInterface{{IPv6: []netip.Addr{netip.MustParseAddr("2001:db8::6")}}}},
			want: reach{Address: "[2001:db8::6]:22", Users: "a", Alias: "2001:db8::6"}},
		{what: "ProxyJump", config: "Host 10.*\nProxyJump x@b1:2022,b2\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Via: "b1 b2", Alias: "10.0.0.5"}},
		{what: "the bastion's own ProxyJump", config: "Host b2\nProxyJump b1\nHost 10.*\nProxyJump b2\nHost *\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Via: "b1 b2", Alias: "10.0.0.5"}},
		{what: "a bastion for all, itself included", config: "Host *\nProxyJump b\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Via: "b", Alias: "10.0.0.5"}},
		{what: "bastions that name each other", config: "Host b1\nProxyJump b2\nHost b2\nProxyJump b1\nHost 10.*\nProxyJump b1\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Via: "b2 b1", Alias: "10.0.0.5"}},
		{what: "default jump", config: "User a", cfg: Config{Jump: "b"}, want: reach{Address: "10.0.0.5:22", Users: "a", Via: "b", Alias: "10.0.0.5"}},
		{what: "ProxyJump none beats the default jump", config: "Host 10.*\nProxyJump none\nUser a", cfg: Config{Jump: "b"}, want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "10.0.0.5"}},
		{what: "the host is the bastion", config: "Host b\nHostName 203.0.113.5\nUser x\nPort 2022\nHost 10.*\nProxyJump b\nUser a", want: reach{Address: "203.0.113.5:2022", Users: "x", Alias: "b"}},
		{what: "ProxyCommand before ProxyJump", config: "Host 10.*\nProxyCommand nc %h %p\nProxyJump b\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Command: "nc 10.0.0.5 22", Alias: "10.0.0.5"}},
		{what: "ProxyCommand by instance ID", config: "Host i-* mi-*\nProxyCommand sh -c \"aws ssm start-session --target %h --parameters 'portNumber=%p'\"\nUser a",
			want: reach{Address: "i-0aa:22", Users: "a", Command: `sh -c "aws ssm start-session --target i-0aa --parameters 'portNumber=22'"`, Alias: "i-0aa"}},
		{what: "Match all and host", config: "Match host 10.*,x\nUser a\nMatch all\nPort 23", want: reach{Address: "10.0.0.5:23", Users: "a", Alias: "10.0.0.5"}},
		{what: "Match host looks at HostName", config: "Host i-0aa\nHostName h.example.com\nMatch host *.example.com\nUser a\nMatch host 10.*\nUser b", want: reach{Address: "h.example.com:22", Users: "a", Alias: "i-0aa"}},
		{what: "a Match that matters not", config: "Match final all exec \"false\"\nCiphers x\nHost *\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "10.0.0.5"}},
		{what: "a Match for another host", config: "Match originalhost db-* exec \"false\"\nUser b\nHost *\nUser a", want: reach{Address: "10.0.0.5:22", Users: "a", Alias: "10.0.0.5"}},
		{what: "a Match that matters", config: "Match host 10.* exec \"true\"\nUser a\nPort 26\nProxyJump b", want: reach{Address: "10.0.0.5:26", Users: "a", Via: "b", Alias: "10.0.0.5"}},
		{what: "a name tag like an option", config: "Host -*\nUser b\nHost *\nUser a", host: fleet.Host{ID: "i-1", Tags: map[string]string{"Name": "-oProxyCommand=id"}, PrivateIP: netip.MustParseAddr("10.0.0.1")},
			want: reach{Address: "10.0.0.1:22", Users: "a", Alias: "10.0.0.1"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			if reflect.ValueOf(test.host).IsZero() {
				test.host = webHost()
			}
			c := clientWith(t, test.config, test.cfg)
			got, err := c.target(context.Background(), test.host)
			if err != nil {
				t.Fatal(err)
			}
			command, err := got.expand(got.command, got.users[0], c.env)
			if err != nil {
				t.Fatal(err)
			}
			r := reach{Address: got.address(), Users: strings.Join(got.users, " "), Via: strings.Join(got.viaNames(), " "), Command: command, Alias: got.alias}
			if diff := cmp.Diff(test.want, r); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTargetRefuses(t *testing.T) {
	for _, test := range []struct {
		what, config string
		cfg          Config
		host         fleet.Host
		kind         error
		want         string
	}{
		{what: "no address", host: fleet.Host{ID: "i-1"}, kind: ErrUnreachable, want: "no private address"},
		{what: "no public address", cfg: Config{Address: AddressPublic}, host: fleet.Host{ID: "i-1", PrivateIP: netip.MustParseAddr("10.0.0.1")}, kind: ErrUnreachable, want: "no public address"},
		{what: "port", config: "Port 70000", host: webHost(), kind: ErrConfig, want: `port "70000"`},
		{what: "ConnectTimeout", config: "ConnectTimeout soon", host: webHost(), kind: ErrConfig, want: "ConnectTimeout"},
		{what: "jump", config: "ProxyJump a b", host: webHost(), kind: ErrConfig, want: "[user@]host[:port]"},
		{what: "token", config: "HostName %Z", host: webHost(), kind: ErrConfig, want: "%Z"},
		{what: "failing ssh -G", config: "Match exec \"true\"\nPort seven", host: webHost(), kind: ErrConfig, want: "ssh -G 10.0.0.5: exit status 255"},
	} {
		t.Run(test.what, func(t *testing.T) {
			_, err := clientWith(t, test.config, test.cfg).target(context.Background(), test.host)
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %v with %q", err, test.kind, test.want)
			}
		})
	}
}

func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config":    "Include " + dir + "/*.conf\nHost web-1\n  Include " + dir + "/web\n  Port 24\nHost *\n  Port 25\n  User last\nInclude " + dir + "/missing\n",
		"a.conf":    "Host 10.0.0.5\n  ConnectTimeout 7\n",
		"b.conf":    "Host db-*\n  User db\n",
		"web":       "User web\nHost i-0aa\n  Port 23\n",
		"loop":      "Include " + dir + "/loop\n",
		"onlydb":    "Host db-1\nInclude " + dir + "/everybody\n",
		"everybody": "Host *\nUser everybody\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := New(Config{ConfigFile: filepath.Join(dir, "config")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.target(context.Background(), webHost())
	if err != nil {
		t.Fatal(err)
	}
	if got.port != 23 || got.users[0] != "web" || got.dialTimeout != 7*time.Second {
		t.Errorf("got port %d, user %s, timeout %s", got.port, got.users[0], got.dialTimeout)
	}
	if c, err = New(Config{ConfigFile: filepath.Join(dir, "onlydb")}); err != nil {
		t.Fatal(err)
	}
	if got, err = c.target(context.Background(), webHost()); err != nil || got.users[0] == "everybody" {
		t.Errorf("a file included for another host counts: %v, %v", got, err)
	}
	if _, err := New(Config{ConfigFile: filepath.Join(dir, "loop")}); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
		t.Errorf("got %v", err)
	}
	if _, err := New(Config{ConfigFile: filepath.Join(dir, "none at all")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, cfg := range map[string]Config{
		"host key policy":       {HostKeyPolicy: "never"},
		"address":               {Address: "both"},
		"port":                  {Port: 70000},
		"ProxyJump":             {Jump: "a,,b"},
		"login name":            {Users: []string{"-l"}},
		"proxy":                 {Proxy: "localhost"},
		"proxy ftp://u:xxxxx@h": {Proxy: "ftp://u:secret@h"},
	} {
		cfg.ConfigFile = "none"
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestParseJump(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"none":                  "",
		"b":                     "b",
		"u@b:2022":              "u@b:2022",
		"u@d@b,c":               "u@d@b c",
		"ssh://u@b:22/":         "u@b:22",
		"[2001:db8::1]:22":      "[2001:db8::1]:22",
		"2001:db8::1":           "2001:db8::1",
		" a , b ":               "a b",
		"a,":                    "error",
		"-oProxyCommand=x":      "error",
		"-l@b":                  "error",
		"b:0":                   "error",
		"b:":                    "error",
		"b:99999":               "error",
		"a;id":                  "error",
		"[::1":                  "error",
		"[::1]x":                "error",
		"a:b:c":                 "error",
		strings.Repeat("a,", 9): "error",
		"$(id)":                 "error",
	} {
		hops, err := parseJump(in)
		var list []string
		for _, h := range hops {
			list = append(list, h.String())
		}
		got := strings.Join(list, " ")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %q (%v), want %q", in, got, err, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		"Host a b !c\n  HostName %h.x\n  User u\n  ProxyJump a@b:1,c\n",
		"Match all\nPort 1\nMatch host a,b user c\nPort 2\nMatch exec \"x\"\nPort 3\n",
		"Host=\"a b\"\n\tIdentityFile = ~/x # y\n\r\nInclude x y\n",
		"Host\n", "Host a\rPort", "User", "=\n", "\"", "Port 22", "Match", "Host *\xff\x00\n", "Host !\n", "Include\n",
	} {
		f.Add(s)
	}
	known := names(webHost())
	f.Fuzz(func(t *testing.T, text string) {
		depth := 0
		var include func([]string) ([]*configFile, error)
		include = func([]string) ([]*configFile, error) {
			if depth++; depth > 3 {
				return nil, nil
			}
			f, err := parseConfig([]byte(text), include)
			return []*configFile{f}, err
		}
		parsed, err := parseConfig([]byte(text), include)
		if err != nil {
			return
		}
		o := (&sshConfig{files: []*configFile{parsed}}).lookup(known)
		for key, values := range o.values {
			if every, ok := honoured[key]; !ok || !every && len(values) != 1 {
				t.Errorf("%s has %q", key, values)
			}
		}
		tgt := &target{opts: o, name: "h", alias: "a", port: 22}
		_, _ = parseJump(o.first("proxyjump"))
		_, _ = tgt.expandPath(o.first("identityfile"), "u", environment{home: "/h"})
	})
}

func FuzzJump(f *testing.F) {
	for _, s := range []string{"a", "u@a:22,b", "[::1]:2", "ssh://u@h:1/", "-x", "a b", "u@@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hops, err := parseJump(s)
		if err != nil {
			if clean(err.Error(), 1000) != err.Error() {
				t.Errorf("not printable: %q", err)
			}
			return
		}
		for _, h := range hops {
			if h.host == "" || h.host[0] == '-' || strings.ContainsAny(h.host+h.user, " \t\n;|&$`'\"<>()") || h.port < 0 || h.port > 65535 {
				t.Errorf("%q gives %+v", s, h)
			}
			again, err := parseHop(h.String())
			if err != nil || again != h {
				t.Errorf("%+v is read back as %+v, %v", h, again, err)
			}
		}
	})
}

func FuzzSSHG(f *testing.F) {
	f.Add("user a\nhostname b\nidentityfile c\nidentityfile d\nport 22\n", "a")
	f.Add("user \n\n \nport\r\n", "")
	f.Fuzz(func(t *testing.T, out, alias string) {
		for key, values := range parseSSHG(out) {
			if every, ok := honoured[key]; !ok || len(values) == 0 || !every && len(values) != 1 {
				t.Errorf("%s has %q", key, values)
			}
			sshGDefault(key, values, alias)
		}
	})
}

func FuzzKnownHostsLine(f *testing.F) {
	for _, s := range []string{"  \r ", "a ssh-ed25519 AAAA", "|1|a|b x y", "@revoked", "!", "[a x y", "# c", "a,!b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtKEa0rg5rbuHCvyZbLIiEXsIRZNnGRAORVBHxnvGv3"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, line string) {
		path := filepath.Join(dir, "known_hosts")
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		k := &keyFiles{files: []string{path}, names: map[string]string{}}
		if k.load(); k.err != nil {
			t.Errorf("%q stops the whole file: %v", line, k.err)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\x00\u202e\xff")
	f.Add("\x1b]0;x\x07y\x1bPz\x1b\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s, 50)
		if clean(got, 1000) != got || len(got) > 60 {
			t.Errorf("%q gives %q", s, got)
		}
	})
}
