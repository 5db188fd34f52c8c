#!/bin/sh
# Part of the probe: SSH sessions that are open, and what runs in them.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# process FOLDER sets pid, comm and ppid from /proc.
process() {
	l=
	{ IFS= read -r l <"$1/stat"; } 2>/dev/null
	[ -n "$l" ] || return 1
	pid=${l%% *}
	comm=${l#*\(}
	comm=${comm%\)*}
	ppid=${l##*\) }
	ppid=${ppid#? }
	ppid=${ppid%% *}
}

# list_sessions prints the processes of sshd that serve a session. SERVING gets
# them, MONITORS those that log the login: their parents, but root's sessions
# have no process apart.
list_sessions() {
	set +f
	for d in /proc/[0-9]*; do
		set -f
		c=
		read -r c <"$d/comm" || continue
		case $c in
		sshd*)
			t=
			case $CHAIN in *" ${d#/proc/} "*) ;; *) IFS= read -r t <"$d/cmdline" ;; esac
			case $t in
			*"["*) ;;
			"sshd: "* | "sshd-session: "*)
				if process "$d"; then
					printf 'session\t%s\t%s\t%s\n' "$pid" "$ppid" "${t#*: }"
					SERVING="$SERVING$pid "
					MONITORS="$MONITORS$pid $ppid "
				fi
				;;
			esac
			;;
		amazon-ssm-agen*) AGENT_RUNS=yes ;;
		esac
	done 2>/dev/null
	set -f
}

# forwards_agent PID tells whether sshd gave a process a forwarded agent.
forwards_agent() {
	n=0
	while [ "$n" -lt 20 ] && IFS= read -r e; do
		n=$((n + 1))
		case $e in *SSH_AUTH_SOCK=/tmp/ssh-*/agent.* | *SSH_AUTH_SOCK=/*/.ssh/agent/s.*.sshd.*) return 0 ;; esac
	done <"/proc/$1/environ"
	case $e in *SSH_AUTH_SOCK=/tmp/ssh-*/agent.* | *SSH_AUTH_SOCK=/*/.ssh/agent/s.*.sshd.*) return 0 ;; esac
	return 1
}

# list_children prints the names of the processes below the sessions, three
# generations deep. Arguments may hold secrets; only what they tell of is printed.
list_children() {
	set +f
	all=
	for d in /proc/[0-9]*; do
		set -f
		process "$d" || continue
		case $ppid in 0 | 1 | 2) ;; *) all="$all$pid $ppid $comm$NL" ;; esac
	done
	set -f
	tree=' ' n_children=0
	for p in $SERVING; do tree="$tree$p:$p "; done
	for generation in 1 2 3; do
		IFS=$NL
		for l in $all; do
			pid=${l%% *}
			l=${l#* }
			ppid=${l%% *}
			comm=${l#* }
			root=
			case $tree in
			*" $pid:"*) ;;
			*" $ppid:"*)
				root=${tree#*" $ppid:"}
				root=${root%% *}
				;;
			esac
			[ -n "$root" ] || continue
			n_children=$((n_children + 1))
			[ "$n_children" -le 500 ] || break
			tree="$tree$pid:$root "
			marks=
			t=
			{ IFS= read -r t <"/proc/$pid/cmdline"; } 2>/dev/null
			case $t in *ansible-tmp-* | *AnsiballZ_*) marks=ansible ;; esac
			if [ "$generation" = 1 ] && forwards_agent "$pid" 2>/dev/null; then marks="$marks agent"; fi
			printf 'child\t%s\t%s\t%s\n' "$root" "$marks" "$comm"
		done
	done
	IFS=$DEF
}

# list_agents prints the sessions whose sshd listens for a forwarded agent.
list_agents() {
	for p in $SERVING; do
		set +f
		for f in /tmp/ssh-*/agent."$p"; do
			set -f
			[ ! -S "$f" ] || printf 'agent\t%s\n' "$p"
		done
		set -f
	done
}

p_sessions() {
	printf 'begin\tsessions\n'
	SERVING=' ' MONITORS=' ' AGENT_RUNS=no
	[ -r /proc/1/comm ] || printf 'blind\n'
	list_sessions
	if [ "$SERVING" != ' ' ]; then
		list_children
		list_agents
		if have ss; then
			s=$($TIMEOUT ss -Htnp 2>/dev/null)
			n=0
			printf 'peers\n'
			IFS=$NL
			for l in $s; do
				case $l in *'"sshd'*) ;; *) continue ;; esac
				n=$((n + 1))
				[ "$n" -le 1000 ] || break
				printf '|%s\n' "$l"
			done
			IFS=$DEF
		fi
	fi
	printf 'end\tsessions\n'
}
