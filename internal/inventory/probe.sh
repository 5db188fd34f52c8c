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
# inventory.Script puts REGION, SUFFIX and the limits before this text.
# shellcheck disable=SC2086,SC2154,SC3043

T='	'
NL='
'
DEF=" $T$NL"

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

# ancestors walks from this shell up to the SSH daemon that serves it. CHAIN gets
# the processes on the way, daemon the daemon's arguments one per line (title
# non-empty: they come from a process title, where blanks may be part of a value).
ancestors() {
	CHAIN=' ' daemon='' title='' p=self n=0 server=''
	while [ "$n" -lt 40 ]; do
		n=$((n + 1))
		l=
		{ IFS= read -r l <"/proc/$p/stat"; } 2>/dev/null
		[ -n "$l" ] || break
		pid=${l%% *}
		CHAIN="$CHAIN$pid "
		comm=${l#*\(}
		comm=${comm%\)*}
		p=${l##*\) }
		p=${p#? }
		p=${p%% *}
		case $comm in
		sshd*)
			server=sshd
			t=
			{ IFS= read -r t <"/proc/$pid/cmdline"; } 2>/dev/null
			case $t in
			"sshd: "*"[listener]"* | "sshd: /"*)
				t=${t#sshd: }
				title=${t%% \[listener\]*}
				IFS=' '
				set -- $title
				IFS=$NL
				daemon="$*"
				IFS=$DEF
				p=
				;;
			*": "*) ;;
			?*)
				# Releases before 8.2 leave the daemon's arguments as they are.
				daemon=$(tr '\0' '\n' <"/proc/$pid/cmdline")
				p=
				;;
			esac
			;;
		dropbear*) server=$comm ;;
		esac
		case $p in '' | 0 | 1 | *[!0-9]*) break ;; esac
	done
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

p_sshd() {
	printf 'begin\tsshd\n'
	ancestors
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
	printf 'end\tsshd\n'
}

p_users() {
	printf 'begin\tusers\n'
	dirs='' limit=''
	if [ -r /etc/nsswitch.conf ]; then
		while read -r k v; do
			[ "$k" = passwd: ] || continue
			for w in $v; do
				case $w in
				'#'*) break ;;
				files | compat | systemd | altfiles | extrausers | db | mymachines | \[* | *\]) ;;
				sss) [ ! -S /var/lib/sss/pipes/nss ] || dirs="$dirs $w" ;;
				*) dirs="$dirs $w" ;;
				esac
			done
		done </etc/nsswitch.conf
	fi
	LIST='' how_users=/etc/passwd
	if have getent; then
		# A directory server that is down may hold getent up for minutes.
		[ -z "$dirs" ] || limit=$TIMEOUT
		LIST=$($limit getent passwd 2>/dev/null)
		code=$?
		how_users='getent passwd'
		[ "$code" = 0 ] || printf 'exit\t%s\n' "$code"
	fi
	if [ -z "$LIST" ] && [ -r /etc/passwd ]; then
		how_users=/etc/passwd
		while IFS= read -r l || [ -n "$l" ]; do
			LIST="$LIST$l$NL"
		done </etc/passwd
	fi
	[ -z "$dirs" ] || printf 'directory\t%s\n' "${dirs# }"
	printf 'source\t%s\n' "$how_users"
	content "$LIST"
	printf 'end\tusers\n'
}

# user LINE sets name, id, home and shell from a passwd line.
user() {
	name=${1%%:*} id=${1#*:*:} shell=${1##*:} home=${1%:*}
	id=${id%%:*} home=${home##*:}
	case $home in /*) ;; *) return 1 ;; esac
	home=${home%/}
	IFS=$DEF
	[ -n "$name" ]
}

# expand PATTERN sets file to what an AuthorizedKeysFile pattern means for the
# user; empty for none.
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

# shut FILE tells whether FILE may exist without this user being able to see it.
shut() {
	[ "$uid" != 0 ] || return 1
	dir=${1%/*}
	while [ -n "$dir" ]; do
		if [ -d "$dir" ]; then
			if [ -x "$dir" ]; then return 1; fi
			return 0
		fi
		dir=${dir%/*}
	done
	return 1
}

# has_keys tells whether one of the user's files under the global patterns exists.
has_keys() {
	for w in $AKF; do
		expand "$w"
		if [ -n "$file" ] && [ -e "$file" ]; then return 0; fi
	done
	return 1
}

# variant USER sets variant to the number of the settings that hold for USER.
variant() {
	variant=
	case $VARIANTS in
	*"$NL$1:"*)
		variant=${VARIANTS#*"$NL$1:"}
		variant=${variant%%"$NL"*}
		;;
	esac
}

# may_log_in tells whether the user is worth a question about Match blocks: there
# is a shell, or a key that could open a tunnel, or a block of the user's own.
may_log_in() {
	case $shell in
	*/nologin | */false | */sync | */shutdown | */halt) ;;
	*) return 0 ;;
	esac
	case $MATCH in
	*[\ =,\"$T]"$name"[\ ,\"$T]*) return 0 ;;
	esac
	has_keys
}

# ask_match SPEC asks sshd what holds for the user in name.
ask_match() {
	IFS=$NL
	if ! m=$("$bin" "$how" -C "user=$name,$1" $ARGS 2>/dev/null); then
		m=$("$bin" "$how" -C "user=$name,$1" $ARGS 2>&1 >/dev/null)
		IFS=$DEF
		first_line "$m"
		printf 'unmatched\t%s\t%s\n' "$name" "$text"
		return
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
	VARIANTS="$VARIANTS$name:$i$NL"
	printf 'user\t%s\t%s\n' "$i" "$name"
}

# p_match asks for the settings of every user whom a Match block may single out,
# as seen from the address of this very connection.
p_match() {
	printf 'begin\tmatch\n'
	VARIANTS=$NL variants=0 asked=0
	if [ -n "$MATCH" ]; then
		set -- $CONNECTION
		spec="host=${1:-127.0.0.1},addr=${1:-127.0.0.1},laddr=${3:-127.0.0.1},lport=${4:-22}"
		printf 'spec\t%s\n' "$spec"
		IFS=$NL
		for l in $LIST; do
			user "$l" || continue
			may_log_in || continue
			asked=$((asked + 1))
			if [ "$asked" -gt "$MAX_MATCH_USERS" ]; then
				printf 'cut\t%s\n' "$MAX_MATCH_USERS"
				break
			fi
			ask_match "$spec"
		done
		IFS=$DEF
	fi
	printf 'end\tmatch\n'
}

# want FILE notes a file to be read and, with STOP, the folders from it up to
# STOP, whose modes sshd checks.
want() {
	case $FILES in *"$NL$1$NL"*) return ;; esac
	nfiles=$((nfiles + 1))
	FILES="$FILES$1$NL"
	[ -n "$2" ] || return 0
	dir=${1%/*}
	while [ -n "$dir" ]; do
		case $FOLDERS in *"$NL$dir$NL"*) break ;; esac
		FOLDERS="$FOLDERS$dir$NL"
		[ "$dir" != "$2" ] || break
		dir=${dir%/*}
	done
}

# user_files notes the key files of the user.
user_files() {
	variant "$name"
	patterns=$AKF
	[ -z "$variant" ] || eval "patterns=\$AKF$variant"
	for w in $patterns; do
		expand "$w"
		[ -n "$file" ] || continue
		if [ -e "$file" ]; then
			if [ "$nfiles" -ge "$MAX_FILES" ]; then
				printf 'cut\t%s\n' "$MAX_FILES"
				return 1
			fi
			printf 'key\t%s\t%s\n' "$name" "$file"
			want "$file" "${home:-/}"
		elif shut "$file"; then
			printf 'shut\t%s\t%s\n' "$name" "$file"
		fi
	done
}

# ca_files notes the files of certificate authorities.
ca_files() {
	i=0 c=$CA
	while :; do
		case $c in
		'' | none) ;;
		*)
			if [ -e "$c" ]; then
				printf 'ca\t%s\t%s\n' "$i" "$c"
				want "$c" ''
			else
				printf 'lost\t%s\t%s\n' "$i" "$c"
			fi
			;;
		esac
		i=$((i + 1))
		[ "$i" -le "$variants" ] || break
		eval "c=\$CA$i"
	done
}

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

# size FILE sets size from the listing; empty when it is not known.
size() {
	size=
	case $SIZES in
	*"$NL$1$T"*)
		size=${SIZES#*"$NL$1$T"}
		size=${size%%"$NL"*}
		;;
	esac
}

# list_files shows owners, modes and sizes of all files that matter, in one go.
list_files() {
	SIZES=$NL
	IFS=$NL
	set -- $FILES $FOLDERS $LOGS
	IFS=$DEF
	[ $# -gt 0 ] || return 0
	ls=$(ls -ldnL "$@" 2>/dev/null)
	printf 'list\n'
	content "$ls"
	IFS=$NL
	for l in $ls; do
		IFS=$DEF
		set -- $l
		case $1 in -*) SIZES="$SIZES/${l#*/}$T$5$NL" ;; esac
	done
	IFS=$DEF
}

# print_file FILE prints a file's text, if it may be read and fits.
print_file() {
	if [ ! -f "$1" ]; then
		printf 'file\tspecial\t%s\n' "$1"
		return
	fi
	if [ ! -r "$1" ]; then
		printf 'file\tunreadable\t%s\n' "$1"
		return
	fi
	size "$1"
	case $size in '' | *[!0-9]*) size=$MAX_FILE ;; esac
	if [ "$size" -gt "$MAX_FILE" ]; then size=$MAX_FILE; fi
	total=$((total + size))
	if [ "$total" -gt "$MAX_TOTAL" ]; then
		printf 'file\tskipped\t%s\n' "$1"
	elif [ "$size" -lt 65536 ]; then
		printf 'file\tread\t%s\n' "$1"
		while IFS= read -r l || [ -n "$l" ]; do
			printf '|%s\n' "$l"
		done <"$1"
	else
		printf 'file\tupto %s\t%s\n' "$MAX_FILE" "$1"
		if have awk; then
			head -c "$MAX_FILE" "$1" | awk '{ print "|" $0 }'
		else
			head -c "$MAX_FILE" "$1" | while IFS= read -r l || [ -n "$l" ]; do
				printf '|%s\n' "$l"
			done
		fi
	fi
}

p_keys() {
	printf 'begin\tkeys\n'
	FILES=$NL FOLDERS=$NL nfiles=0 total=0
	if [ -z "$AKF" ]; then
		printf 'default\n'
		AKF='.ssh/authorized_keys .ssh/authorized_keys2'
	fi
	IFS=$NL
	for l in $LIST; do
		user "$l" || continue
		user_files || break
	done
	IFS=$DEF
	ca_files
	log_files
	list_files
	IFS=$NL
	for f in $FILES; do
		IFS=$DEF
		print_file "$f"
	done
	IFS=$DEF
	printf 'end\tkeys\n'
}

p_sessions() {
	printf 'begin\tsessions\n'
	found='' AGENT_RUNS=no
	[ -r /proc/1/comm ] || printf 'blind\n'
	set +f
	for d in /proc/[0-9]*; do
		set -f
		c=
		read -r c <"$d/comm" || continue
		case $c in
		sshd*)
			pid=${d#/proc/}
			t=
			case $CHAIN in *" $pid "*) ;; *) IFS= read -r t <"$d/cmdline" ;; esac
			case $t in
			*"["*) ;;
			"sshd: "* | "sshd-session: "*)
				found=yes
				printf 'session\t%s\t%s\n' "$pid" "${t#*: }"
				;;
			esac
			;;
		amazon-ssm-agen*) AGENT_RUNS=yes ;;
		esac
	done 2>/dev/null
	set -f
	if [ -n "$found" ] && have ss; then
		s=$(ss -Htnp 2>/dev/null)
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
	printf 'end\tsessions\n'
}

# agent_unit BLOCK prints what systemctl shows of one unit, and takes the proxy
# from it: the agent's way out is the one to test. A proxy's address may hold a
# password and is not printed.
agent_unit() {
	printf 'unit\n'
	IFS=$NL
	for l in $1; do
		case $l in
		Environment=*)
			IFS=$DEF
			for w in ${l#Environment=}; do
				w=${w#\"}
				w=${w%\"}
				case $w in
				https_proxy=* | HTTPS_PROXY=*) PROXY=${w#*=} ;;
				no_proxy=* | NO_PROXY=*) NO_PROXY_FOR=${w#*=} ;;
				esac
			done
			;;
		*) printf '|%s\n' "$l" ;;
		esac
	done
	IFS=$DEF
}

p_agent() {
	printf 'begin\tagent\n'
	PROXY='' NO_PROXY_FOR='' agent='' a='' r='' s=''
	for f in /usr/bin/amazon-ssm-agent /usr/sbin/amazon-ssm-agent /usr/local/bin/amazon-ssm-agent \
		/snap/amazon-ssm-agent/current/amazon-ssm-agent; do
		[ -x "$f" ] || continue
		agent=$f
		a=$("$f" -version 2>&1)
		first_line "$a"
		printf 'binary\t%s\t%s\n' "$f" "$text"
	done
	if [ -n "$agent" ]; then
		if [ -e /var/lib/dpkg/info/amazon-ssm-agent.list ]; then
			printf 'package\tdeb\n'
		elif have rpm; then
			r=$(rpm -q amazon-ssm-agent 2>/dev/null) && printf 'package\trpm\t%s\n' "$r"
		fi
		if have systemctl; then
			s=$(systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState -p Environment \
				amazon-ssm-agent.service snap.amazon-ssm-agent.amazon-ssm-agent.service 2>&1)
			code=$?
			if [ "$code" = 0 ]; then
				agent_unit "${s%%"$NL$NL"*}"
				case $s in *"$NL$NL"*) agent_unit "${s#*"$NL$NL"}" ;; esac
			else
				first_line "$s"
				printf 'unitless\t%s\n' "$text"
			fi
		else
			printf 'process\t%s\n' "$AGENT_RUNS"
		fi
	fi
	printf 'end\tagent\n'
}

# count_logins groups the accepted logins of its files or of standard input.
count_logins() {
	awk '
	NR == 1 { printf "first\n|%s\n", $0 }
	{ line = $0 }
	/: Accepted / {
		if ($6 == "Accepted" && $5 ~ /^sshd(-session|-auth)?\[[0-9]+\]:$/) { n = 6; at = $1 " " $2 " " $3 }
		else if ($4 == "Accepted" && $3 ~ /^sshd(-session|-auth)?\[[0-9]+\]:$/) { n = 4; at = $1 }
		else next
		k = $(n + 1)
		for (i = n + 2; i <= NF; i++) {
			if ($i == "port" && $(i + 2) ~ /^ssh2/) { i++; continue }
			k = k " " $i
		}
		if (!(k in count)) {
			if (groups >= max) { over++; next }
			order[++groups] = k
			start[k] = at
		}
		count[k]++
		stop[k] = at
	}
	END {
		if (NR) printf "last\n|%s\n", line
		for (i = 1; i <= groups; i++) {
			k = order[i]
			printf "group\t%d\t%s\t%s\t%s\n", count[k], start[k], stop[k], k
		}
		if (over) printf "over\t%d\n", over
	}' max="$MAX_LOGIN_GROUPS" "$@"
}

# pick_logins prints the accepted logins of standard input, where there is no awk.
pick_logins() {
	line=
	while IFS= read -r l; do
		[ -n "$line" ] || printf 'first\n|%s\n' "$l"
		line=$l
		case $l in *": Accepted "*) printf 'line\n|%s\n' "$l" ;; esac
	done
	[ -z "$line" ] || printf 'last\n|%s\n' "$line"
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
			journalctl -q --no-pager -o short-unix -n "$MAX_JOURNAL" -u ssh -u sshd 2>/dev/null | count_logins
		else
			journalctl -q --no-pager -o short-unix -n "$MAX_JOURNAL" -u ssh -u sshd 2>/dev/null | pick_logins
		fi
	elif [ -n "$LOGS" ]; then
		printf 'unreadable\t%s\n' "$log"
	fi
	printf 'end\tlogins\n'
}

# lookup sets dns to how the name service answered for h, and ips to its answer.
lookup() {
	dns=none ips=
	have getent || return 0
	a=$($TIMEOUT getent ahosts "$h" 2>/dev/null)
	dns=$?
	IFS=$NL
	for l in $a; do
		ip=${l%%[ "$T"]*}
		case " $ips " in *" $ip "*) ;; *) ips="$ips $ip" ;; esac
	done
	IFS=$DEF
	ips=${ips# }
}

# by_curl tests h with curl. The login's own proxy settings and curlrc are left
# out of it: only the agent's proxy counts.
by_curl() {
	o=$(https_proxy=$PROXY no_proxy=$NO_PROXY_FOR curl -q -sSv -m 5 -o /dev/null \
		-w "${NL}facts %{time_connect} %{time_appconnect} %{ssl_verify_result} %{http_code} %{remote_ip}${NL}" \
		"https://$h/" 2>&1)
	code=$?
	if [ "$code" = 60 ]; then
		# curl does not name the issuer of a chain that it refuses.
		o=$o$NL$(https_proxy=$PROXY no_proxy=$NO_PROXY_FOR curl -q -kv -s -m 3 -o /dev/null "https://$h/" 2>&1)
	fi
	IFS=$NL
	for l in $o; do
		case $l in
		"facts "*) facts=${l#facts } ;;
		"curl: "*) detail=$l ;;
		"*"*" issuer: "*) issuer=${l#*issuer: } ;;
		esac
	done
	IFS=$DEF
}

by_openssl() {
	o=$($TIMEOUT openssl s_client -connect "$h:443" -servername "$h" </dev/null 2>&1)
	code=$?
	IFS=$NL
	for l in $o; do
		case $l in
		CONNECTED*) facts=connected ;;
		issuer=*) issuer=${l#issuer=} ;;
		*"Verify return code: "*) facts="connected ${l##*code: }" ;;
		*errno* | *:error:*) [ -n "$detail" ] || detail=$l ;;
		esac
	done
	IFS=$DEF
}

# endpoint SERVICE tests one endpoint and prints one line in one write.
endpoint() {
	h=$1.$REGION.$SUFFIX
	tool='' code='' facts='' issuer='' detail='' via=''
	lookup
	if [ -n "$PROXY" ]; then via=proxy; fi
	case $dns$via in
	0* | none* | *proxy)
		if have curl; then
			tool=curl
			by_curl
		elif [ -n "$PROXY" ]; then
			tool=proxy
		elif [ -n "$TIMEOUT" ] && have openssl; then
			tool=openssl
			by_openssl
		elif [ -n "$TIMEOUT" ] && have bash; then
			tool=bash
			# shellcheck disable=SC2016
			detail=$($TIMEOUT bash -c ': </dev/tcp/$0/443' "$h" 2>&1)
			code=$?
		elif have nc; then
			tool=nc
			detail=$(nc -z -w 5 "$h" 443 2>&1 </dev/null)
			code=$?
		fi
		;;
	esac
	first_line "$issuer"
	issuer=$text
	first_line "$detail"
	printf 'endpoint\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' \
		"$1" "$h" "$dns" "$ips" "$tool" "$code" "$facts" "$via" "$issuer" "$text"
}

p_endpoints() {
	printf 'begin\tendpoints\n'
	if [ -n "$REGION" ]; then
		for s in ssm ssmmessages ec2messages; do endpoint "$s" & done
		wait
	fi
	printf 'end\tendpoints\n'
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
	! have timeout || TIMEOUT='timeout 5'
	printf 'migrate-probe 1\n'
	p_system
	p_sshd
	p_users
	p_match
	p_keys
	p_sessions
	p_agent
	p_logins
	p_endpoints
	printf 'done\n'
}

# Only a script that arrived whole gets to its last line, and standard input
# holds the script: no program may read from it.
main "$@" </dev/null
exit 0
