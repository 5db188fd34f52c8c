# Functions of migrate cp on a host, for a POSIX sh with the tools that every Linux has.
# Settings stand before, calls behind. What it prints is one word and its fields per line.
set -u
LC_ALL=C
export LC_ALL
umask 077

say() { printf '%s\n' "$*"; }
die() {
	printf 'failed %s\n' "$*"
	exit 7
}

me=$(id -u)
home=$(getent passwd "$me" 2>/dev/null | cut -d: -f6)
home=${home:-/}
cd "$home" 2>/dev/null || cd /
work=
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 7' HUP INT TERM

sum_of() {
	sum_line=$(sha256sum "$1") || return 1
	sum_line=${sum_line#\\}
	printf '%s\n' "${sum_line%% *}"
}

begin_work() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/migrate-cp.XXXXXX") || die "no temporary directory can be made in ${TMPDIR:-/tmp}"
}

# The last line of what a program complained of, unless it names a URL.
why() {
	line=$(tail -n 1 "$work/why" 2>/dev/null | cut -c 1-200)
	case $line in
	*X-Amz-*) line= ;;
	esac
	printf '%s\n' "${line:-no reason given}"
}

gnu_wget() { wget --version 2>/dev/null | grep -q 'GNU Wget'; }

# URLs go to the programs by standard input: arguments show in the process list.
python='import sys, urllib.request as u
url = sys.stdin.readline().strip()
if sys.argv[1] == "put":
    with open(sys.argv[2], "rb") as f:
        u.urlopen(u.Request(url, data=f.read(), method="PUT"), timeout=120).read()
else:
    with open(sys.argv[2], "wb") as f, u.urlopen(url, timeout=120) as r:
        while True:
            b = r.read(1048576)
            if not b:
                break
            f.write(b)
'

# upload FILE WHERE; WHERE is a presigned URL, or a key for the role.
upload() {
	if [ "$by" = role ]; then
		aws s3api put-object --region "$region" --bucket "$bucket" --key "$2" --body "$1" >/dev/null 2>"$work/why"
	elif command -v curl >/dev/null 2>&1; then
		printf 'url = "%s"\n' "$2" | curl -qsS --fail --connect-timeout 20 --speed-limit 1000 --speed-time 60 -K - -T "$1" >/dev/null 2>"$work/why"
	elif command -v python3 >/dev/null 2>&1; then
		printf '%s\n' "$2" | python3 -c "$python" put "$1" 2>"$work/why"
	elif gnu_wget; then
		printf '%s\n' "$2" | wget -q -O /dev/null --tries=1 --timeout=60 --method=PUT --body-file="$1" -i - 2>"$work/why"
	else
		die "the host has none of curl, python3 and GNU wget to upload with"
	fi
}

# download WHERE FILE
download() {
	if [ "$by" = role ]; then
		aws s3api get-object --region "$region" --bucket "$bucket" --key "$1" "$2" >/dev/null 2>"$work/why"
	elif command -v curl >/dev/null 2>&1; then
		printf 'url = "%s"\n' "$1" | curl -qsS --fail --connect-timeout 20 --speed-limit 1000 --speed-time 60 -K - -o "$2" 2>"$work/why"
	elif command -v python3 >/dev/null 2>&1; then
		printf '%s\n' "$1" | python3 -c "$python" get "$2" 2>"$work/why"
	elif gnu_wget; then
		printf '%s\n' "$1" | wget -q -O "$2" --tries=1 --timeout=60 -i - 2>"$work/why"
	elif command -v wget >/dev/null 2>&1; then
		wget -q -O "$2" "$1" 2>"$work/why" # busybox's reads no list of URLs, and Debian's crashes with -T
	else
		die "the host has none of curl, python3 and wget to download with"
	fi
}

# The source's side.

spool_at() {
	spool_dir=${TMPDIR:-/var/tmp}/.migrate-cp-$me
	mkdir "$spool_dir" 2>/dev/null
	[ -d "$spool_dir" ] && [ ! -L "$spool_dir" ] && [ "$(stat -c %u:%a "$spool_dir")" = "$me:700" ] || die "$spool_dir is not a directory of ours alone: remove it"
	spool=$spool_dir/$id.tar
}

look() {
	kind=file
	source=$f
	if [ -d "$f" ]; then
		[ "$recursive" = 1 ] || die "$f is a directory: -r copies directories"
		kind=directory
		real=$(cd "$f" 2>/dev/null && pwd -P) || die "$f cannot be entered"
		[ "$real" != / ] || die "/ cannot be copied as a whole"
		spool_at
		tar -cf "$spool" -C "$(dirname "$real")" "./$(basename "$real")" 2>/dev/null || { rm -f "$spool"; die "tar could not read all of $f, or has no room in $spool_dir"; }
		source=$spool
		name=$(basename "$real")
		mode=$(stat -c %a "$real")
	else
		[ -e "$f" ] || die "there is no $f"
		[ -f "$f" ] || die "$f is no regular file"
		[ -r "$f" ] || die "$f cannot be read by this user"
		name=$(basename "$f")
		mode=$(stat -L -c %a "$f")
	fi
	sum=$(sum_of "$source") || die "$f could not be read to its end"
	say "item $kind $(stat -L -c '%s %Y' "$source") $mode $sum $name"
}

open_source() {
	source=$f
	if [ -d "$f" ]; then
		spool_at
		source=$spool
	fi
	begin_work
}

# send NUMBER WHERE
send() {
	dd if="$source" of="$work/part" bs=1048576 skip=$(($1 * mib)) count="$mib" 2>/dev/null || die "part $1 could not be cut out: is there room in $work?"
	upload "$work/part" "$2" || die "part $1 did not get into the bucket: $(why)"
	say "sent $1"
}

forget() {
	spool_at
	rm -f "$spool"
	rmdir "$spool_dir" 2>/dev/null
	say "forgotten"
}

# The destination's side.

# As root nothing is written below what others may change: they could put a
# link in its place.
trusted() {
	at=$1
	while :; do
		[ "$(stat -c %u "$at")" = 0 ] || die "$at is not root's: copy as its owner (--as USER)"
		if [ ! -L "$at" ]; then
			case $(stat -c %A "$at") in
			*[tT]) ;;
			?????w*|????????w*) die "$at may be written by others than root: copy as its owner (--as USER)" ;;
			esac
		fi
		[ "$at" != / ] || break
		at=$(dirname "$at")
	done
}

enter() {
	case $f in
	/*) ;;
	*) f=${home%/}/${f#./} ;;
	esac
	if [ -d "$f" ]; then
		to=$f
		base=$name
	else
		case $f in
		*/) die "there is no directory $f" ;;
		esac
		to=$(dirname "$f")
		base=$(basename "$f")
	fi
	[ -d "$to" ] || die "there is no directory $to"
	[ "$me" != 0 ] || trusted "$to"
	cd "$to" 2>/dev/null || die "$to cannot be entered by this user"
	here=$(pwd -P)
	[ "$me" != 0 ] || trusted "$here"
	[ -w . ] || die "$here cannot be written by this user"
	[ ! -L "$base" ] || die "${here%/}/$base is a symbolic link: name what it leads to"
	[ ! -d "$base" ] || die "${here%/}/$base is there already, as a directory"
	if [ -e "$base" ]; then
		[ "$kind" = file ] && [ -f "$base" ] || die "${here%/}/$base is there already"
	fi
	parts=.migrate-cp-$tag
	mkdir "$parts" 2>/dev/null
	[ -d "$parts" ] && [ ! -L "$parts" ] && [ "$(stat -c %u:%a "$parts")" = "$me:700" ] || die "${here%/}/$parts is not ours alone: remove it"
}

# How many parts have been put together already, by a run that was broken off then.
joined() {
	whole=$parts/whole
	joined=0
	if [ -f "$whole" ]; then
		joined=$(($(stat -c %s "$whole") / (mib * 1048576)))
		[ "$(stat -c %s "$whole")" != "$size" ] || joined=$count
	fi
}

part_size() {
	if [ "$1" -lt $((count - 1)) ]; then
		say $((mib * 1048576))
	else
		say $((size - $1 * mib * 1048576))
	fi
}

place() {
	enter
	set -- $(df -Pk . | tail -n 1)
	free=${4:-0}
	kept=$(du -sk "$parts" 2>/dev/null | cut -f 1)
	# Twice the parts of one step, and a directory is unpacked beside its archive.
	need=$((size / 1024 - ${kept:-0} + mib * 1024))
	[ "$kind" = file ] || need=$((need + size / 1024))
	[ "$free" -gt "$need" ] || die "$here has room for $free KiB, and $need KiB are needed"
	joined
	printf 'have'
	n=0
	while [ "$n" -lt "$count" ]; do
		if [ "$n" -lt "$joined" ] || { [ -f "$parts/$n" ] && [ "$(stat -c %s "$parts/$n")" = "$(part_size "$n")" ]; }; then
			printf ' %s' "$n"
		fi
		n=$((n + 1))
	done
	printf '\nplace %s\n' "${here%/}/$base"
}

open_place() {
	enter
	begin_work
}

# receive NUMBER WHERE: whole or not at all, so that a run that lags behind does no harm.
receive() {
	download "$2" "$parts/$1.$$" || {
		rm -f "$parts/$1.$$"
		die "part $1 did not come out of the bucket: $(why)"
	}
	[ "$(stat -c %s "$parts/$1.$$")" = "$(part_size "$1")" ] || {
		rm -f "$parts/$1.$$"
		die "part $1 has another size than was sent"
	}
	mv -f "$parts/$1.$$" "$parts/$1" || die "part $1 could not be kept"
	say "received $1"
}

join() {
	joined
	[ "$joined" = 0 ] || [ "$joined" = "$count" ] || dd if=/dev/null of="$whole" bs=1048576 seek=$((joined * mib)) 2>/dev/null
	[ "$joined" != 0 ] || : >"$whole" || die "${here%/}/$whole could not be written"
	n=$joined
	while [ "$n" -lt "$count" ]; do
		cat "$parts/$n" >>"$whole" || die "the parts could not be put together in $here"
		rm -f "$parts/$n"
		n=$((n + 1))
	done
	[ "$(sum_of "$whole")" = "$sum" ] || {
		rm -rf "$parts"
		die "the checksum of what has arrived differs: the source changed meanwhile, or parts were damaged"
	}
}

finish() {
	enter
	join
	if [ "$kind" = file ]; then
		if [ "$preserve" = 0 ] && [ -f "$base" ]; then
			mode=$(stat -c %a "$base")
			[ "$me" != 0 ] || chown "$(stat -c %u:%g "$base")" "$whole"
		fi
		chmod "$mode" "$whole" || die "the mode could not be set"
		[ "$preserve" = 0 ] || touch -d "@$mtime" "$whole" || die "the time could not be set"
		sync "$whole" 2>/dev/null || sync
		mv -f "$whole" "$base" || die "${here%/}/$base could not be written"
	else
		mkdir "$parts/x" 2>/dev/null
		exact=-p
		if [ "$preserve" = 0 ]; then
			umask 022
			exact=--no-same-permissions
		fi
		tar -xo "$exact" -f "$whole" -C "$parts/x" 2>/dev/null || die "tar could not unpack all in $here"
		chmod -R ug-s "$parts/x" || die "the modes could not be set"
		sync
		mv -f "$parts/x/$name" "$base" || die "${here%/}/$base could not be written"
	fi
	rm -rf "$parts"
	say "done ${here%/}/$base"
}
