#!/bin/sh
# What one host says of itself, printed for parse.go to read. It changes nothing
# and needs no program but those that it asks about. It runs in dash, busybox
# ash, bash and mvdan.cc/sh; the last one does not continue a loop from a case
# within a case, and loses the empty fields of an IFS split.
#
# The text starts with "migrate-probe 1" and ends with "done". Between them are
# sections, from "begin<TAB>NAME" to "end<TAB>NAME", of records: a tag and fields
# separated by tabs, where foreign text comes last or has no tabs. A line that
# starts with "|" is content: foreign text that belongs to the record before it.
# So no file or program can forge structure. A section without its end is
# unknown.
#
# Forks cost the host more than anything else here: files are read with builtins,
# and a program runs once for everything that it is asked.
#
# inventory.Script puts the Region, its DNS suffixes and the limits before this text.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317,SC3043

T='	'
NL='
'
DEF=" $T$NL"
CR=$(printf '\r')

# have PROGRAM: "command -v" without looking past PATH.
have() {
	IFS=:
	for d in $PATH; do
		if [ -x "$d/$1" ]; then
			IFS=$DEF
			return 0
		fi
	done
	IFS=$DEF
	return 1
}

# content TEXT prints every line of TEXT as content.
content() {
	[ -n "$1" ] || return 0
	IFS=$NL
	printf '|%s\n' $1
	IFS=$DEF
}

# without_password ADDRESS sets v to the address of a proxy or a repository
# without the password in it.
without_password() {
	v=$1
	case $1 in
	*:*@*)
		who=${1%@*}
		scheme=
		case $who in *://*) scheme=${who%%://*}:// ;; esac
		who=${who#"$scheme"}
		v=$scheme${who%%:*}@${1##*@}
		;;
	esac
}

# without_addresses LINE sets text to a line of foreign words, cut off at an
# address that may hold a password.
without_addresses() {
	text=$1
	case $1 in *://*:*@*) text="${1%%://*}://(left out)" ;; esac
}

# first_line TEXT sets text to the first line of TEXT, its tabs cut off.
first_line() {
	text=${1%%"$NL"*}
	text=${text%%"$T"*}
}

p_system() {
	printf 'begin\tsystem\n'
	uid=
	while read -r k _ v _; do
		if [ "$k" = Uid: ]; then
			uid=$v
			break
		fi
	done 2>/dev/null </proc/self/status
	[ -n "$uid" ] || uid=$(id -u)
	printf 'uid\t%s\n' "$uid"
	date "+time$T%s$T%z"
	u=$(uname -snrm)
	printf 'uname\t%s\n' "$u"
	printf 'os\n'
	f=/etc/os-release
	[ -r "$f" ] || f=/usr/lib/os-release
	if [ -r "$f" ]; then
		while IFS= read -r l || [ -n "$l" ]; do
			case $l in ID=* | ID_LIKE=* | VERSION_ID=* | PRETTY_NAME=*) printf '|%s\n' "$l" ;; esac
		done <"$f"
	fi
	printf 'end\tsystem\n'
}

main() {
	set -f
	IFS=$DEF
	# The login user's own folders must not provide programs: this may be root.
	PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin:/snap/bin:/run/current-system/sw/bin
	set -a
	LC_ALL=C
	set +a
	unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY LANGUAGE
	CONNECTION=${1:-$SSH_CONNECTION}
	TIMEOUT=
	LONG=
	if have timeout; then TIMEOUT='timeout 5' LONG='timeout 12'; fi
	printf 'migrate-probe 1\n'
	p_system
	p_sshd
	p_users
	p_match
	p_keys
	p_sessions
	p_agent
	p_logins
	p_health
	p_cloudinit
	p_traces
	p_network
	printf 'done\n'
}

# Only a script that arrived whole gets to its last line, and standard input
# holds the script: no program may read from it.
main "$@" </dev/null
exit 0
