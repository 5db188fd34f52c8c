package sshhost

import (
	"slices"
	"strings"
)

// Survey is what an ssh_config holds that matters to somebody who sets migrate up.
type Survey struct {
	Found    bool      // there is such a file
	Bastions []Bastion // of ProxyJump lines, those with most blocks first
	Commands int       // ProxyCommand lines
	Users    []string  // login names of User lines, in the order of the file
	Names    int       // Host and Match blocks that do not hold for every name
}

// Bastion is one value of ProxyJump.
type Bastion struct {
	Jump    string // "[user@]host[:port]", several by comma; clean
	Blocks  int    // that have it
	Problem string // why it cannot be used; empty: it can
}

// mostSurveyed bounds how many bastions and users a survey lists: a file may be
// megabytes.
const mostSurveyed = 50

// Look surveys the ssh_config that a Config.ConfigFile of this name stands for, with all files
// that it includes; it opens no connection. Its errors are New's.
func Look(name string) (Survey, error) {
	var s Survey
	env, err := localEnvironment()
	if err != nil {
		return s, err
	}
	conf, err := loadConfig(name, env)
	if err != nil {
		return s, err
	}
	s.Found = len(conf.files) > 0
	seen := map[*configFile]bool{}
	for _, f := range conf.files {
		s.take(f, seen)
	}
	slices.SortStableFunc(s.Bastions, func(a, b Bastion) int { return b.Blocks - a.Blocks })
	s.Bastions = s.Bastions[:min(len(s.Bastions), mostSurveyed)]
	return s, nil
}

func (s *Survey) take(f *configFile, seen map[*configFile]bool) {
	if seen[f] {
		return
	}
	seen[f] = true
	for i := range f.blocks {
		b := &f.blocks[i]
		if !b.any {
			s.Names++
		}
		for _, n := range b.nodes {
			for _, inc := range n.included {
				s.take(inc, seen)
			}
			switch n.key {
			case "proxyjump":
				s.jump(n.value)
			case "proxycommand":
				if !strings.EqualFold(n.value, "none") {
					s.Commands++
				}
			case "user":
				if u := clean(n.value, 64); u != "" && len(s.Users) < mostSurveyed && !slices.Contains(s.Users, u) {
					s.Users = append(s.Users, u)
				}
			}
		}
	}
}

func (s *Survey) jump(value string) {
	hops, err := parseJump(value)
	if err == nil && len(hops) == 0 {
		return // "none"
	}
	name := clean(value, 200)
	i := slices.IndexFunc(s.Bastions, func(b Bastion) bool { return b.Jump == name })
	if i < 0 {
		if len(s.Bastions) >= 10*mostSurveyed {
			return
		}
		i = len(s.Bastions)
		s.Bastions = append(s.Bastions, Bastion{Jump: name})
		if err != nil {
			s.Bastions[i].Problem = err.Error()
		}
	}
	s.Bastions[i].Blocks++
}

// CheckJump says what is wrong with a value for Config.Jump.
func CheckJump(jump string) error {
	_, err := parseJump(jump)
	return err
}
