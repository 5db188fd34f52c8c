#!/bin/sh
# Part of the probe: the SSH server and its settings.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# process_of PID sets pid, comm and parent from /proc.
process_of() {
	l=
	{ IFS= read -r l <"/proc/$1/stat"; } 2>/dev/null
	[ -n "$l" ] || return 1
	pid=${l%% *}
	comm=${l#*\(}
	comm=${comm%\)*}
	parent=${l##*\) }
	parent=${parent#? }
	parent=${parent%% *}
}

# daemon_of PID sets daemon where a process of sshd is a daemon, and not one that
# serves a session: its arguments one per line (title non-empty: they come from a
# process title, where blanks may be part of a value).
daemon_of() {
	t=
	{ IFS= read -r t <"/proc/$1/cmdline"; } 2>/dev/null
	case $t in
	"sshd: "*"[listener]"* | "sshd: /"*)
		t=${t#sshd: }
		title=${t%% \[listener\]*}
		IFS=' '
		set -- $title
		IFS=$NL
		daemon="$*"
		IFS=$DEF
		;;
	*": "*) return 1 ;;
	?*)
		# Releases before 8.2 leave the daemon's arguments as they are.
		title=
		daemon=$(tr '\0' '\n' <"/proc/$1/cmdline")
		;;
	*) return 1 ;;
	esac
}

# ancestors walks from this shell up to the SSH daemon that serves it. CHAIN gets
# the processes on the way.
ancestors() {
	CHAIN=' ' daemon='' title='' parent=self n=0 server=''
	while [ "$n" -lt 40 ]; do
		n=$((n + 1))
		process_of "$parent" || break
		CHAIN="$CHAIN$pid "
		case $comm in
		sshd*)
			server=sshd
			if daemon_of "$pid"; then break; fi
			;;
		dropbear*) server=$comm ;;
		esac
		case $parent in '' | 0 | 1 | *[!0-9]*) break ;; esac
	done
}

# lone_daemon finds the SSH daemon where none serves this shell, as when Systems
# Manager runs it: the one sshd that init has started. Which of several is meant
# cannot be told; then daemon stays empty. Those of containers have other parents.
lone_daemon() {
	n=0 found='' found_title=''
	set +f
	for d in /proc/[0-9]*; do
		set -f
		c=
		read -r c <"$d/comm" || continue
		[ "$c" = sshd ] || continue
		process_of "${d#/proc/}" || continue
		if [ "$parent" = 1 ] && daemon_of "$pid"; then
			n=$((n + 1))
			found=$daemon found_title=$title
		fi
	done 2>/dev/null
	set -f
	daemon='' title=''
	printf 'listeners\t%s\n' "$n"
	if [ "$n" = 1 ]; then daemon=$found title=$found_title server=sshd; fi
}

# daemon_options sets bin to the daemon's program, given to its arguments, and
# ARGS to those of them that change its settings, one word per line.
daemon_options() {
	ARGS='' bin='' given='' conf_file=/etc/ssh/sshd_config
	[ -n "$daemon" ] || return 0
	IFS=$NL
	set -- $daemon
	IFS=$DEF
	bin=$1
	shift
	given=$*
	while [ $# -gt 0 ]; do
		o=$1
		shift
		case $o in
		-[foph])
			[ $# -gt 0 ] || break
			v=$1
			shift
			;;
		-[foph]?*)
			v=${o#-?}
			o=${o%"$v"}
			;;
		-[CEbcgku])
			[ $# -eq 0 ] || shift
			continue
			;;
		*) continue ;;
		esac
		if [ -n "$title" ]; then
			while [ $# -gt 0 ]; do
				case $1 in -*) break ;; esac
				v="$v $1"
				shift
			done
		fi
		ARGS="$ARGS$NL$o$NL$v"
		case $o in -f) conf_file=$v ;; esac
	done
}

# match_blocks FILE notes in MATCH the criteria of all Match lines of a
# configuration and the files that it includes.
match_blocks() {
	INCLUDED=$((INCLUDED + 1))
	[ "$INCLUDED" -le 64 ] || return 0
	if [ ! -f "$1" ] || [ ! -r "$1" ]; then return 0; fi
	while IFS=" $T=" read -r k v || [ -n "$k" ]; do
		case $k in
		[Mm][Aa][Tt][Cc][Hh]) MATCH="$MATCH $v " ;;
		[Ii][Nn][Cc][Ll][Uu][Dd][Ee])
			for w in $v; do
				w=${w#\"}
				w=${w%\"}
				case $w in
				'#'*) break ;;
				/*) ;;
				*) w=/etc/ssh/$w ;;
				esac
				set +f
				for f in $w; do
					set -f
					match_blocks "$f"
				done
				set -f
			done
			;;
		esac
	done <"$1"
}

# key_settings TEXT sets akf and ca from the output of sshd -T.
key_settings() {
	akf='' ca=''
	IFS=$NL
	for l in $1; do
		case $l in
		"authorizedkeysfile "*) akf=${l#* } ;;
		"trustedusercakeys "*) ca=${l#* } ;;
		esac
	done
	IFS=$DEF
}

# unit_commands prints how systemd starts the server now. A daemon that was not
# restarted since runs with other arguments.
unit_commands() {
	have systemctl || return 0
	u=$($TIMEOUT systemctl cat ssh.service sshd.service 2>/dev/null)
	printf 'unit\n'
	more=
	IFS=$NL
	for l in $u; do
		case $more$l in
		yes* | ExecStart=*)
			printf '|%s\n' "$l"
			more=
			case $l in *\\) more=yes ;; esac
			;;
		esac
	done
	IFS=$DEF
}

p_sshd() {
	printf 'begin\tsshd\n'
	ancestors
	[ -n "$server" ] || lone_daemon
	daemon_options
	if [ -n "$bin" ]; then printf 'daemon\t%s\n' "$given"; fi
	if [ -n "$server" ]; then printf 'server\t%s\n' "$server"; fi
	case $bin in /*) [ -x "$bin" ] || bin= ;; *) bin= ;; esac
	for d in /usr/sbin /usr/local/sbin /usr/bin /sbin /usr/lib/ssh /run/current-system/sw/bin; do
		[ -z "$bin" ] || break
		[ ! -x "$d/sshd" ] || bin=$d/sshd
	done
	conf='' how='' MATCH='' INCLUDED=0
	if [ -n "$bin" ]; then
		v=$("$bin" -V 2>&1)
		printf 'version\n'
		content "$v"
		how=-T
		IFS=$NL
		if ! conf=$("$bin" -T $ARGS 2>/dev/null); then
			how=-G
			why=$("$bin" -T $ARGS 2>&1 >/dev/null)
			if ! conf=$("$bin" -G $ARGS 2>/dev/null); then conf=''; fi
		fi
		IFS=$DEF
		if [ -n "$conf" ]; then
			printf 'config\t%s\n' "$how"
			content "$conf"
			match_blocks "$conf_file"
		else
			printf 'failed\n'
			content "$why"
		fi
	fi
	key_settings "$conf"
	AKF=$akf CA=$ca
	unit_commands
	printf 'end\tsshd\n'
}

# ask_match SPEC asks sshd what holds for the user in name, and sets which to
# the number of the settings that do; 0 are those outside of Match blocks.
ask_match() {
	which=0
	IFS=$NL
	if ! m=$("$bin" "$how" -C "user=$name,$1" $ARGS 2>/dev/null); then
		m=$("$bin" "$how" -C "user=$name,$1" $ARGS 2>&1 >/dev/null)
		IFS=$DEF
		first_line "$m"
		printf 'unmatched\t%s\t%s\n' "$name" "$text"
		return 1
	fi
	IFS=$DEF
	[ "$m" != "$conf" ] || return 0
	i=1
	while [ "$i" -le "$variants" ]; do
		eval "known=\$MATCH$i"
		[ "$known" != "$m" ] || break
		i=$((i + 1))
	done
	if [ "$i" -gt "$variants" ]; then
		variants=$i
		key_settings "$m"
		eval "MATCH$i=\$m AKF$i=\$akf CA$i=\$ca"
		printf 'variant\t%s\n' "$i"
		content "$m"
	fi
	which=$i
}

# p_match asks for the settings of every user whom a Match block may single out,
# as seen from the address of this very connection and, where blocks look at
# addresses, from the host itself, where SSH through Session Manager comes from.
p_match() {
	printf 'begin\tmatch\n'
	VARIANTS=$NL variants=0 asked=0
	if [ -n "$MATCH" ]; then
		set -- $CONNECTION
		spec="host=${1:-127.0.0.1},addr=${1:-127.0.0.1},laddr=${3:-127.0.0.1},lport=${4:-22}"
		printf 'spec\t%s\n' "$spec"
		within=
		case $MATCH in
		*[Aa][Dd][Dd][Rr][Ee][Ss][Ss]* | *[Hh][Oo][Ss][Tt]*) within="host=127.0.0.1,addr=127.0.0.1,laddr=127.0.0.1,lport=${4:-22}" ;;
		esac
		IFS=$NL
		for l in $LIST; do
			user "$l" || continue
			may_log_in || continue
			asked=$((asked + 1))
			if [ "$asked" -gt "$MAX_MATCH_USERS" ]; then
				printf 'cut\t%s\n' "$MAX_MATCH_USERS"
				break
			fi
			ask_match "$spec" || continue
			here=$which
			if [ "$here" != 0 ]; then
				VARIANTS="$VARIANTS$name:$here$NL"
				printf 'user\t%s\t%s\n' "$here" "$name"
			fi
			[ -n "$within" ] || continue
			ask_match "$within" || continue
			[ "$which" = "$here" ] || printf 'loopback\t%s\t%s\n' "$which" "$name"
		done
		IFS=$DEF
	fi
	printf 'end\tmatch\n'
}
