#!/bin/sh
# Part of the probe: SSH logins in the logs.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# log_files sets LOGS to the SSH logs, oldest first.
log_files() {
	LOGS='' log=''
	for f in /var/log/auth.log /var/log/secure; do
		if [ -s "$f" ]; then
			log=$f
			break
		fi
	done
	[ -n "$log" ] || return 0
	set +f
	for f in "$log"-*[0-9] "$log".1 "$log"; do
		[ ! -s "$f" ] || LOGS="$LOGS$f$NL"
	done
	set -f
}

# count_logins groups the accepted logins of its files or of standard input. What
# a connection was used for stands in later lines: those that name the same
# address and port, or the same user. A login is counted when 4,096 more have come.
count_logins() {
	awk '
	function settle(c,  g) {
		g = use[c] "\t" kind[c]
		if (!(g in count) && groups >= max) over++
		else {
			if (!(g in count)) { order[++groups] = g; start[g] = at[c] }
			count[g]++
			stop[g] = at[c]
		}
		if (conn[peer[c]] == c) delete conn[peer[c]]
		delete kind[c]; delete at[c]; delete use[c]; delete peer[c]
	}
	function mark(c, u, force) {
		if (c > done && c <= seen && (use[c] == "" || force)) use[c] = u
	}
	function named(i,  c) {
		c = 0
		if ($i in last) c = last[$i]
		return c
	}
	function forced(line) {
		if (line ~ /sftp/) return "sftp"
		if (line ~ /rsync/) return "rsync"
		if (line ~ /git-|gitolite|gitlab-shell/) return "git"
		if (line ~ /scp /) return "scp"
		return "command"
	}
	NR == 1 { printf "first\n|%s\n", $0 }
	{ line = $0 }
	/: (Accepted|Starting session:|subsystem request for|session opened for local user) |BECOME-SUCCESS-/ {
		t = 0
		if ($5 ~ /^(sshd(-session|-auth)?|sudo|sftp-server|internal-sftp)(\[[0-9]+\])?:$/) t = 5
		else if ($3 ~ /^(sshd(-session|-auth)?|sudo|sftp-server|internal-sftp)(\[[0-9]+\])?:$/) t = 3
		else next
		daemon = $t ~ /^sshd.*\[/
		n = t + 1
		if (daemon && $n == "Accepted") {
			k = $(n + 1)
			p = ""
			for (i = n + 2; i <= NF; i++) {
				if ($i == "port" && $(i + 2) ~ /^ssh2/) { p = $(i - 1) " " $(i + 1); i++; continue }
				k = k " " $i
			}
			seen++
			kind[seen] = k
			at[seen] = t == 5 ? $1 " " $2 " " $3 : $1
			use[seen] = ""
			peer[seen] = p
			conn[p] = seen
			last[$(n + 3)] = seen
			pid = $t
			gsub(/[^0-9]/, "", pid)
			if (index(monitors, " " pid " ")) mine[pid] = k
			if (seen - done > 4096) settle(++done)
		} else if (daemon && $n == "Starting") {
			for (i = NF; i > n && $i != "port"; i--) ;
			p = $(i - 1) " " $(i + 1)
			if (!(p in conn)) next
			u = $(n + 2)
			if (u == "subsystem") u = $(n + 3) ~ /sftp/ ? "sftp" : "command"
			else if (u == "forced-command") u = forced($0)
			else if (u != "shell") u = "command"
			mark(conn[p], u, 0)
		} else if (daemon && $n == "subsystem" && $(n + 3) == "sftp" && $(n + 5) == "user") mark(named(n + 6), "sftp", 0)
		else if ($t ~ /^(sftp-server|internal-sftp)/ && $n == "session") mark(named(n + 5), "sftp", 0)
		else if ($t ~ /^sudo/) mark(named(n), "ansible", 1)
	}
	END {
		if (NR) printf "last\n|%s\n", line
		while (done < seen) settle(++done)
		for (i = 1; i <= groups; i++) {
			k = order[i]
			printf "group\t%d\t%s\t%s\t%s\n", count[k], start[k], stop[k], k
		}
		if (over) printf "over\t%d\n", over
		for (pid in mine) printf "open\t%s\t%s\n", pid, mine[pid]
	}' max="$MAX_LOGIN_GROUPS" monitors="$MONITORS" "$@"
}

# pick_logins prints the lines of standard input that tell of logins, where there
# is no awk. A command that sudo logs may hold secrets.
pick_logins() {
	line=
	while IFS= read -r l; do
		[ -n "$line" ] || printf 'first\n|%s\n' "$l"
		line=$l
		case $l in
		*BECOME-SUCCESS-*) printf 'line\n|%s\n' "${l%%COMMAND=*}BECOME-SUCCESS-" ;;
		*": Accepted "* | *": Starting session: "* | *": subsystem request for "* | *": session opened for local user "*) printf 'line\n|%s\n' "$l" ;;
		esac
	done
	[ -z "$line" ] || printf 'last\n|%s\n' "$line"
}

# journal_logins reads what the units of sshd logged, and the programs that log
# from within a session's own scope.
journal_logins() {
	$LONG journalctl -q --no-pager -o short-unix -n "$MAX_JOURNAL" _SYSTEMD_UNIT=ssh.service + _SYSTEMD_UNIT=sshd.service \
		+ _COMM=sshd + _COMM=sshd-session + _COMM=sftp-server + _COMM=sudo 2>/dev/null
}

# file_logins reads the newest part of the log that fits the limit.
file_logins() {
	max=$MAX_LOG
	have awk || max=$MAX_PLAIN_LOG
	set --
	all=0 big=
	rest=$LOGS
	while [ -n "$rest" ]; do
		rest=${rest%"$NL"}
		f=${rest##*"$NL"}
		rest=${rest%"$f"}
		if [ ! -r "$f" ]; then
			printf 'unreadable\t%s\n' "$f"
			break
		fi
		size "$f"
		all=$((all + ${size:-0}))
		if [ "$all" -gt "$max" ]; then
			printf 'cut\t%s\n' "$max"
			[ $# -gt 0 ] || big=$f
			break
		fi
		set -- "$f" "$@"
	done
	if [ -n "$big" ]; then
		printf 'source\t%s\n' "$log"
		# The first line is the rest of one.
		if have awk; then
			tail -c "$max" "$big" | { read -r _; count_logins; }
		else
			tail -c "$max" "$big" | { read -r _; pick_logins; }
		fi
	elif [ $# -gt 0 ]; then
		printf 'source\t%s\n' "$log"
		if have awk; then
			count_logins "$@"
		else
			for f in "$@"; do pick_logins <"$f"; done
		fi
	fi
}

p_logins() {
	printf 'begin\tlogins\n'
	if [ -n "$LOGS" ] && [ -r "$log" ]; then
		file_logins
	elif have journalctl; then
		printf 'source\tjournal\n'
		if have awk; then
			journal_logins | count_logins
		else
			journal_logins | pick_logins
		fi
	elif [ -n "$LOGS" ]; then
		printf 'unreadable\t%s\n' "$log"
	fi
	printf 'end\tlogins\n'
}
