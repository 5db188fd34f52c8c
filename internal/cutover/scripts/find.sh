#!/bin/sh
# Part of the scripts for hosts: which files hold keys, by the rules of the
# inventory's probe. Every account whose files exist counts, with or without a
# shell: a key without a shell opens tunnels.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# process PID sets comm, parent and title (the daemon's title or arguments, one
# per line) of a process.
process() {
	l='' comm='' parent='' title=''
	{ IFS= read -r l <"/proc/$1/stat"; } 2>/dev/null
	[ -n "$l" ] || return 1
	pid=${l%% *}
	comm=${l#*\(}
	comm=${comm%\)*}
	parent=${l##*\) }
	parent=${parent#? }
	parent=${parent%% *}
}

# listener PID sets daemon to the arguments, one per line, of the SSH daemon with
# this number; it fails for any other process.
listener() {
	process "$1" || return 1
	case $comm in sshd*) ;; *) return 1 ;; esac
	t=''
	{ IFS= read -r t <"/proc/$1/cmdline"; } 2>/dev/null
	case $t in
	"sshd: "*"[listener]"* | "sshd: /"*)
		t=${t#sshd: }
		t=${t%% \[listener\]*}
		IFS=' '
		set -- $t
		IFS=$NL
		daemon="$*"
		IFS=$DEF
		;;
	*": "*) return 1 ;;
	?*) daemon=$(tr '\0' '\n' <"/proc/$1/cmdline") ;;
	*) return 1 ;;
	esac
}

# find_daemon looks for the daemon that serves this shell, or else for the one
# that init started.
find_daemon() {
	daemon=$DAEMON p=self n=0
	[ -z "$daemon" ] || return 0
	while [ "$n" -lt 40 ]; do
		n=$((n + 1))
		process "$p" || break
		up=$parent
		if listener "$pid"; then return 0; fi
		p=$up
		case $p in '' | 0 | 1 | *[!0-9]*) break ;; esac
	done
	daemon=''
	set +f
	for f in /proc/[0-9]*; do
		set -f
		if process "${f#/proc/}" && [ "$parent" = 1 ] && listener "${f#/proc/}"; then return 0; fi
	done
	set -f
	daemon=''
}

# daemon_options sets bin to the server's program and ARGS to those of the
# daemon's arguments that change its settings, one word per line.
daemon_options() {
	ARGS='' bin='' conf_file=/etc/ssh/sshd_config
	IFS=$NL
	set -- $daemon
	IFS=$DEF
	if [ $# -gt 0 ]; then
		bin=$1
		shift
	fi
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
			o=''
			;;
		*) o='' ;;
		esac
		if [ -n "$o" ]; then
			while [ $# -gt 0 ]; do
				case $1 in -*) break ;; esac
				v="$v $1"
				shift
			done
			ARGS="$ARGS$NL$o$NL$v"
			case $o in -f) conf_file=$v ;; esac
		fi
	done
	case $bin in /*) [ -x "$bin" ] || bin='' ;; *) bin='' ;; esac
	for d in /usr/sbin /usr/local/sbin /usr/bin /sbin /usr/lib/ssh /run/current-system/sw/bin; do
		[ -z "$bin" ] || break
		[ ! -x "$d/sshd" ] || bin=$d/sshd
	done
	[ -n "$bin" ] || refuse sshd "there is no OpenSSH server: what it reads cannot be told"
}

# matches FILE sets MATCH to yes if a configuration, or one that it includes, has
# a Match block.
matches() {
	INCLUDED=$((INCLUDED + 1))
	[ "$INCLUDED" -le 64 ] || return 0
	if [ ! -f "$1" ] || [ ! -r "$1" ]; then return 0; fi
	while IFS=" $T=" read -r k v || [ -n "$k" ]; do
		case $k in
		[Mm][Aa][Tt][Cc][Hh])
			MATCH=yes
			case $v in *[Aa][Dd][Dd][Rr][Ee][Ss][Ss]* | *[Hh][Oo][Ss][Tt]*) MATCH_ADDRESS=yes ;; esac
			;;
		[Ii][Nn][Cc][Ll][Uu][Dd][Ee])
			for w in $v; do
				w=${w#\"}
				w=${w%\"}
				case $w in '#'*) break ;; esac
				case $w in /*) ;; *) w=/etc/ssh/$w ;; esac
				set +f
				for f in $w; do
					set -f
					matches "$f"
				done
				set -f
			done
			;;
		esac
	done <"$1"
}

# settings TEXT sets akf, strict and pubkey from the output of sshd -T.
settings() {
	akf='' strict=yes pubkey=yes
	IFS=$NL
	for l in $1; do
		case $l in
		"authorizedkeysfile "*) akf=${l#* } ;;
		"strictmodes "*) strict=${l#* } ;;
		"pubkeyauthentication "*) pubkey=${l#* } ;;
		esac
	done
	IFS=$DEF
	[ -n "$akf" ] || akf='.ssh/authorized_keys .ssh/authorized_keys2'
}

# ask SPEC gives what the server says of its settings.
ask() {
	IFS=$NL
	if [ -n "$1" ]; then
		conf=$("$bin" -T -C "$1" $ARGS 2>/dev/null) || conf=''
	else
		conf=$("$bin" -T $ARGS 2>/dev/null) || conf=''
	fi
	if [ -z "$conf" ]; then
		why=$("$bin" -T $ARGS 2>&1 >/dev/null)
		IFS=$DEF
		refuse sshd "sshd -T does not tell its settings: ${why%%"$NL"*}"
	fi
	IFS=$DEF
	settings "$conf"
}

expand() {
	file='' rest=$1
	while :; do
		case $rest in
		*%*)
			file=$file${rest%%\%*}
			rest=${rest#*\%}
			case $rest in
			h*) file=$file$home ;;
			u*) file=$file$name ;;
			U*) file=$file$id ;;
			%*) file=$file% ;;
			*) file=$file%${rest%"${rest#?}"} ;;
			esac
			rest=${rest#?}
			;;
		*)
			file=$file$rest
			break
			;;
		esac
	done
	case $file in
	none) file='' ;;
	/*) ;;
	*) file=$home/$file ;;
	esac
}

# owner FILE sets of to the owner of what a path leads to.
owner() {
	of=$(stat -L -c %u "$1" 2>/dev/null) || of=''
	[ -n "$of" ]
}

# note FILE lists a key file of the account, once, by its real path. What sshd
# would not read as that account is left alone: a user may link the name to any
# file of the host.
note() {
	[ -f "$1" ] || return 0
	real=$(readlink -f "$1") && [ -f "$real" ] || return 0
	case $real in *"$T"* | *"$NL"*) refuse unsafe "the key file of $name has a tab or a newline in its name" ;; esac
	case $FILES in *"$NL$real$T"*) return 0 ;; esac
	owner "$real" || refuse sshd "the owner of $real cannot be told"
	if [ "$of" != "$id" ]; then
		if [ "$of" != 0 ]; then
			[ "$strict" = yes ] || refuse unsafe "$real holds keys of $name, but user $of owns it"
			return 0
		fi
		if [ -L "$1" ]; then
			by=$(stat -c %u "$1")
			[ "$by" = 0 ] || return 0
		fi
	fi
	nfiles=$((nfiles + 1))
	[ "$nfiles" -le "$MAX_FILES" ] || refuse many "there are more than $MAX_FILES key files"
	FILES="$FILES$real$T$id$T$strict$T$pubkey$T${home:-/}$NL"
}

files_of_account() {
	for w in $akf; do
		expand "$w"
		if [ -n "$file" ]; then note "$file"; fi
	done
}

# may_log_in tells whether the account is worth a question about Match blocks.
may_log_in() {
	case $shell in */nologin | */false | */sync | */shutdown | */halt) ;; *) return 0 ;; esac
	[ -e "$home/.ssh" ] && [ "$home" != '' ]
}

# find_files sets FILES: lines of path, user ID, StrictModes, whether keys are
# taken at all, home folder.
find_files() {
	FILES=$NL nfiles=0 asked=0 MATCH='' MATCH_ADDRESS='' INCLUDED=0
	find_daemon
	daemon_options
	ask ''
	g_akf=$akf g_strict=$strict g_pubkey=$pubkey
	matches "$conf_file"
	if [ -n "$ACCOUNTS" ]; then
		LIST=$(cat "$ACCOUNTS")
	elif have getent; then
		LIST=$(getent passwd 2>/dev/null)
	fi
	[ -n "$LIST" ] || LIST=$(cat /etc/passwd) || refuse sshd "the accounts cannot be listed"
	set -- $CONNECTION
	here="host=${1:-127.0.0.1},addr=${1:-127.0.0.1},laddr=${3:-127.0.0.1},lport=${4:-22}"
	loop="host=127.0.0.1,addr=127.0.0.1,laddr=127.0.0.1,lport=${4:-22}"
	IFS=$NL
	for l in $LIST; do
		IFS=$DEF
		name=${l%%:*} id=${l#*:*:} shell=${l##*:} home=${l%:*}
		id=${id%%:*} home=${home##*:}
		home=${home%/}
		case $name:$id in :* | *: | *:*[!0-9]*) name='' ;; esac
		if [ -n "$name" ]; then
			akf=$g_akf strict=$g_strict pubkey=$g_pubkey
			if [ -n "$MATCH" ] && may_log_in; then
				asked=$((asked + 1))
				[ "$asked" -le "$MAX_ACCOUNTS" ] || refuse many "there are Match blocks and more than $MAX_ACCOUNTS accounts to ask about"
				ask "user=$name,$here"
				if [ -n "$MATCH_ADDRESS" ] && [ "$here" != "$loop" ]; then
					files_of_account
					ask "user=$name,$loop"
				fi
			fi
			files_of_account
		fi
	done
	IFS=$DEF
}

# blob_of LINE sets blob to the base64 part of a key line.
blob_of() {
	rest=$1 blob='' quoted=''
	case $rest in
	ssh-* | ecdsa-* | sk-*) ;;
	*)
		while :; do
			if [ -n "$quoted" ]; then
				head=${rest%%[\"\\]*}
			else
				head=${rest%%[\"\\ $T]*}
			fi
			[ "$head" != "$rest" ] || return 1
			rest=${rest#"$head"}
			case $rest in
			'\"'*) rest=${rest#??} ;;
			'\'*) rest=${rest#?} ;;
			'"'*)
				rest=${rest#?}
				if [ -n "$quoted" ]; then quoted=''; else quoted=yes; fi
				;;
			*) break ;;
			esac
		done
		rest=${rest#"${rest%%[! $T]*}"}
		;;
	esac
	case $rest in ssh-* | ecdsa-* | sk-*) ;; *) return 1 ;; esac
	head=${rest%%[ $T]*}
	[ "$head" != "$rest" ] || return 1
	rest=${rest#"$head"}
	rest=${rest#"${rest%%[! $T]*}"}
	blob=${rest%%[ $T]*}
	[ -n "$blob" ]
}

# stays LINE tells whether the line's key is one that stays.
stays() {
	for b in $KEEP; do
		case $1 in
		*"$b"*)
			if blob_of "$1" && [ "$blob" = "$b" ]; then return 0; fi
			;;
		esac
	done
	return 1
}

# scan FILE prints the lines that stay and sets go to the number of the others
# that hold something; rescue is set where the recovery key is among the former.
scan() {
	go=0 rescue=''
	while IFS= read -r l || [ -n "$l" ]; do
		l=${l#"${l%%[! $T]*}"}
		case $l in
		'' | '#'*) ;;
		*)
			if stays "$l"; then
				printf '%s\n' "$l"
				case " $RECOVERY " in *" $b "*) rescue=yes ;; esac
			else
				go=$((go + 1))
			fi
			;;
		esac
	done <"$1"
}

# modes FILE UID HOME is StrictModes: file and folders up to the home folder, or
# to the root, belong to the account or root, and nobody else may write.
modes() {
	at=$1 top=$(readlink -f "$3")
	while :; do
		s=$(stat -c '%u %a' "$at") || return 1
		bits=${s#* }
		case ${s%% *} in
		0 | "$2") ;;
		*)
			bad="$at belongs to user ${s%% *}"
			return 1
			;;
		esac
		while [ ${#bits} -lt 3 ]; do bits=0$bits; done
		others=${bits#"${bits%??}"}
		case $others in
		[2367]? | ?[2367])
			bad="$at can be written by others"
			return 1
			;;
		esac
		if [ "$at" = / ] || [ "$at" = "$top" ]; then return 0; fi
		at=${at%/*}
		[ -n "$at" ] || at=/
	done
}
