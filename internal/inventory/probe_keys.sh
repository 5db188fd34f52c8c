#!/bin/sh
# Part of the probe: the users and the files that hold their keys.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

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
