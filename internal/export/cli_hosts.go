package export

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Stages of work on hosts: their lines run on hosts, by Run Command or by SSH.
const (
	stageNodes stage = "nodes"
	stageHosts stage = "hosts"
)

// hostHelpers are the functions that sections about hosts use.
//
// The JSON is made here: scripts have no control characters but tabs and ends of lines.
const hostHelpers = `
# script NAME [MODE]: prints a script for hosts.
script() {
	pick "$1" || return 1
	printf '#!/bin/sh\n'
	"head_$picked"
	[ -z "${2-}" ] || printf 'MODE=%s\n' "$2"
	"body_$body"
}

# json: standard input as the inside of a string.
json() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$(printf '\t')/\\\\t/g" -e 's/$/\\n/' | tr -d '\n'; }

# sent REGION SCRIPT MODE HOST...: runs a script by Run Command, and waits for its
# end. 1: it failed on a host; 2: it could not be sent.
sent() {
	region=$1 name=$2 mode=$3
	shift 3
	input=$(printf '{"DocumentName":"AWS-RunShellScript","Comment":"migrate export","TimeoutSeconds":600,"Parameters":{"executionTimeout":["900"],"commands":["%s"]}}' "$(script "$name" "$mode" | json)")
	id=$(aws ssm send-command --region "$region" --instance-ids "$@" --cli-input-json "$input" --query Command.CommandId --output text) || return 2
	want=$# tries=0
	while :; do
		sleep 3
		all=$(aws ssm list-command-invocations --region "$region" --command-id "$id" --query 'CommandInvocations[].[InstanceId,Status]' --output text) || return 1
		ended=0 bad=
		# shellcheck disable=SC2086
		set -- $all
		while [ $# -gt 1 ]; do
			case $2 in
			Pending | InProgress | Delayed | Cancelling) ;;
			Success) ended=$((ended + 1)) ;;
			*)
				ended=$((ended + 1))
				bad="$bad $1"
				;;
			esac
			shift 2
		done
		[ "$ended" -lt "$want" ] || break
		tries=$((tries + 1))
		if [ "$tries" -gt 300 ]; then
			say "$name: command $id has not ended everywhere"
			return 1
		fi
	done
	[ -n "$bad" ] || return 0
	for host in $bad; do
		say "$host: $name failed:"
		aws ssm get-command-invocation --region "$region" --command-id "$id" --instance-id "$host" --query '[StatusDetails,StandardOutputContent]' --output text >&2 || :
	done
	return 1
}

# on_nodes REGION SCRIPT MODE FILTERS HOST...: runs a script by Run Command on those of the
# hosts that Systems Manager reaches now. With MODE start it looks for the end afterwards, when the
# agent is back.
on_nodes() {
	region=$1 name=$2 mode=$3 filters=$4
	shift 4
	online=$(aws ssm describe-instance-information --region "$region" --cli-input-json "$filters" --query 'InstanceInformationList[].InstanceId' --output text)
	online=" $(printf '%s' "$online" | tr '\n\t' '  ') "
	for host; do
		shift
		case $online in
		*" $host "*) set -- "$@" "$host" ;;
		*)
			say "left out: $host, which Systems Manager does not reach; by SSH: sh $0 script $name | ssh HOST 'sudo -n sh -s'"
			left=1
			;;
		esac
	done
	[ $# -gt 0 ] || return 0
	if ! sent "$region" "$name" "$mode" "$@"; then
		failed=1
		return 0
	fi
	[ "$mode" = start ] || return 0
	tries=0 came=2
	while [ "$came" = 2 ] && [ "$tries" -lt 12 ]; do
		tries=$((tries + 1)) came=0
		sleep 5
		sent "$region" "$name" look "$@" || came=$?
	done
	[ "$came" = 0 ] || failed=1
}

# over_ssh SCRIPT HOST ADDRESS USER: runs a script by SSH. SSH is the command, with its
# options; SSH_USER, where it is set, stands for all users, and empty for those of ssh_config.
over_ssh() {
	say "$2 ($3): $1"
	user=${SSH_USER-$4}
	set -- "$1" "$2" "$3" ${user:+-l "$user"}
	name=$1 host=$2 address=$3
	shift 3
	# shellcheck disable=SC2086
	if ! script "$name" | ${SSH-ssh} -o BatchMode=yes "$@" -- "$address" "$as_root"; then
		say "$host: $name failed"
		failed=1
	fi
}

# It works in any login shell; sshd's settings may depend on the connection.
as_root='exec sh -c '\''c=$SSH_CONNECTION; [ "$(id -u)" = 0 ] && exec sh -s "$c"; exec sudo -n sh -s "$c"'\'
`

const endOfHostScript = "MIGRATE-END-OF-HOST-SCRIPT"

// hostScripts writes the scripts as functions that print them: what several have
// in common once.
func (s *script) hostScripts() {
	templates, _ := s.templates()
	if len(s.hand) == 0 && len(templates) == 0 {
		return
	}
	s.put("\nfailed=0")
	print := func(function, text string) {
		s.put("\n%s() {\ncat <<'%s'\n%s\n%s\n}", function, endOfHostScript, strings.TrimSuffix(text, "\n"), endOfHostScript)
	}
	s.put("\n# ---- scripts for hosts ----")
	var bodies []string
	var pick strings.Builder
	for i, h := range s.hand {
		k := slices.Index(bodies, h.Body)
		if k < 0 {
			k = len(bodies)
			bodies = append(bodies, h.Body)
			print(fmt.Sprintf("body_%d", k+1), h.Body)
		}
		s.put("\n# %s", h.about)
		s.put("head_%d() { printf '%%s' %s; }", i+1, quote(h.Head))
		fmt.Fprintf(&pick, "\t%s) picked=%d body=%d ;;\n", quote(h.name), i+1, k+1)
	}
	s.put("\npick() {\n\tcase $1 in\n%s\t*)\n\t\tsay 'scripts:%s'\n\t\treturn 1\n\t\t;;\n\tesac\n}", pick.String(), s.handNames())
	for i, f := range templates {
		print(fmt.Sprintf("template_%d", i+1), f.Text)
	}
	if len(templates) > 0 {
		s.put("\ntemplate() {\n\tcase $1 in")
		for i, f := range templates {
			s.put("\t%s) template_%d ;;", quote(templateOf(f)), i+1)
		}
		s.put("\t*)\n\t\tsay 'launch templates:%s'\n\t\treturn 1\n\t\t;;\n\tesac\n}", namesOf(templates))
	}
	s.text.WriteString(hostHelpers)
}

func (s *script) handNames() string {
	out := ""
	for _, h := range s.hand {
		out += " " + h.name
	}
	return out
}

func templateOf(f File) string {
	return strings.TrimSuffix(strings.TrimPrefix(f.Name, "user-data/"), ".sh")
}

func namesOf(templates []File) string {
	out := ""
	for _, f := range templates {
		out += " " + templateOf(f)
	}
	return out
}

// mostCommandHosts is how many instances SendCommand and the filter of
// DescribeInstanceInformation take. Source: AWS Systems Manager API Reference, SendCommand.
const mostCommandHosts = 50

type keyValues struct {
	Key    string
	Values []string
}

// nodeSection writes the work that Run Command leads to, at a place.
func (s *script) nodeSection(at fleet.Place) {
	first := true
	for _, h := range s.hand {
		var ids []string
		for _, ref := range h.nodes {
			if ref.Place() == at {
				ids = append(ids, ref.ID)
			}
		}
		for chunk := range slices.Chunk(ids, mostCommandHosts) {
			if first {
				s.open(stageNodes, at)
				first = false
			}
			mode := "whole"
			if h.agent {
				mode = "start"
			}
			s.put("\n\tsay %s", quote(fmt.Sprintf("%s: %s", h.about, fleet.Count(len(chunk), "host"))))
			online := struct{ Filters []keyValues }{[]keyValues{{"InstanceIds", chunk}, {"PingStatus", []string{"Online"}}}}
			words := make([]string, 0, len(chunk))
			for _, id := range chunk {
				words = append(words, quote(id))
			}
			s.put("\ton_nodes %s %s %s %s %s", quote(at.Region), quote(h.name), mode, quote(compact(online)), strings.Join(words, " "))
		}
	}
	if !first {
		s.put("}")
	}
}

// sshSection writes the work that only SSH leads to. It needs no credentials.
func (s *script) sshSection() {
	first := true
	for _, h := range s.hand {
		for _, ref := range h.hosts {
			if first {
				s.sections[stageHosts] = []string{"over_ssh_all"}
				s.put("\n# ---- %s ----\nover_ssh_all() {", stageHosts)
				first = false
			}
			address, user := s.login(ref)
			if address == "" {
				s.put("\tsay %s", quote("left out: "+ref.ID+", whose address is not known: "+h.name))
				s.put("\tleft=1")
				continue
			}
			s.put("\t# %s", s.seen.host(ref))
			s.put("\tover_ssh %s %s %s %s", quote(h.name), quote(ref.ID), quote(address), quote(user))
		}
	}
	if !first {
		s.put("}")
	}
}

// hostPlaces are the places of hosts that Run Command leads to, sorted.
func (s *script) hostPlaces() []fleet.Place {
	var out []fleet.Place
	for _, h := range s.hand {
		for _, ref := range h.nodes {
			out = append(out, ref.Place())
		}
	}
	slices.SortFunc(out, comparePlaces)
	return slices.Compact(out)
}

// scriptStages are the stages of a script in their order: hosts need what the
// stages before make.
var scriptStages = []stage{stagePrepare, stageRecovery, stageNodes, stageHosts, stageAccess, stageClose, stageFinish}

// handStage reports whether there is something to do on hosts in a stage.
func (s *script) handStage(st stage) bool {
	return slices.ContainsFunc(s.hand, func(h *handWork) bool {
		return st == stageNodes && len(h.nodes) > 0 || st == stageHosts && len(h.hosts) > 0
	})
}

// handSteps is how many steps are done on hosts by the script.
func (s *script) handSteps() int {
	n := 0
	for _, h := range s.hand {
		n += len(h.steps)
	}
	return n
}

func (s *script) headHosts() {
	templates, notes := s.templates()
	if len(s.hand) > 0 {
		s.put("#\n# script NAME prints a script for hosts, to be run there as root by any other means:")
		for _, h := range s.hand {
			s.put("#   %s (%s)", h.name, h.about)
		}
	}
	if len(templates) > 0 {
		s.put("#\n# user-data TEMPLATE prints what a launch template's next version needs in its user data:")
		for _, f := range templates {
			s.put("#   %s", templateOf(f))
		}
	}
	for _, n := range notes {
		s.put("#   none: %s", n)
	}
}
