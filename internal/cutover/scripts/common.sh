#!/bin/sh
# What all scripts that change hosts share. They run in dash, busybox ash, bash
# and mvdan.cc/sh; the last one does not continue a loop from a case within a case.
#
# Output is "migrate-host 1", records of fields separated by tabs, and "done".
# The last field may be foreign text. A record "error CODE TEXT" tells
# that the script did not do its work; without "done" it did not end.
#
# The preamble sets BASE (root-only folder of this program on hosts), TOKEN
# (folder of this plan below it) and what the script's own text names.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

T='	'
NL='
'
DEF=" $T$NL"
set -a
PATH=${SEARCH:-/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin:/snap/bin:/run/current-system/sw/bin}
LC_ALL=C
set +a
unset LANGUAGE
IFS=$DEF
umask 077
set -f
DIR=$BASE/$TOKEN
LOCKED=''

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

# say prints a record.
say() {
	IFS=$T
	printf '%s\n' "$*"
	IFS=$DEF
}

# refuse CODE TEXT ends the script: it does not do what was asked.
refuse() {
	say error "$1" "$2"
	say 'done'
	exit 3
}

now() { date +%s; }

sum() {
	s=$(sha256sum <"$1") || return 1
	s=${s%% *}
	[ ${#s} = 64 ]
}

# flush brings files and folders to the disk. Old releases of sync take no names.
flush() { sync "$@" 2>/dev/null || sync; }

# put NAME makes standard input the content of a file in the folder: whole, and
# on the disk, or not at all.
put() {
	cat >"$DIR/$1.part" && flush "$DIR/$1.part" && mv -f "$DIR/$1.part" "$DIR/$1" && flush "$DIR"
}

as_root() {
	uid=''
	while read -r k _ v _; do
		if [ "$k" = Uid: ]; then
			uid=$v
			break
		fi
	done 2>/dev/null </proc/self/status
	[ -n "$uid" ] || uid=$(id -u)
	[ "$uid" = 0 ] || refuse root "the script runs as user $uid, not as root"
}

# folder makes the plan's folder, or checks the one that is there.
folder() {
	for d in "$BASE" "$DIR"; do
		[ -d "$d" ] || mkdir -p "$d" || refuse full "cannot make the folder $d"
		[ ! -L "$d" ] || refuse unsafe "$d is a symbolic link"
		s=$(stat -c '%u %a' "$d")
		case $s in
		'0 700') ;;
		'0 '*) chmod 700 "$d" || refuse unsafe "cannot close $d to others" ;;
		*) refuse unsafe "$d does not belong to root" ;;
		esac
	done
}

boot() {
	boot=-
	{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
}

# lock keeps other scripts of this plan out. A lock whose owner is dead, or was
# left by an earlier boot, does not count.
lock() {
	boot
	tries=0
	until mkdir "$DIR/lock" 2>/dev/null; do
		owner='' since=''
		{ read -r owner since <"$DIR/lock/owner"; } 2>/dev/null
		tries=$((tries + 1))
		if [ -n "$owner" ] && { [ "$since" != "$boot" ] || [ ! -d "/proc/$owner" ]; }; then
			rm -rf "$DIR/lock"
		elif [ -z "$owner" ] && [ "$tries" -gt 3 ]; then
			rm -rf "$DIR/lock"
		elif [ "$tries" -gt 40 ]; then
			refuse busy "another script of this plan (process $owner) holds $DIR/lock"
		else
			sleep 1
		fi
		[ -d "$DIR" ] || refuse full "the folder $DIR is gone"
		[ "$tries" -le 60 ] || refuse full "cannot make $DIR/lock"
	done
	LOCKED=yes
	printf '%s %s\n' $$ "$boot" >"$DIR/lock/owner"
	trap unlock EXIT
}

unlock() {
	[ -z "$LOCKED" ] || rm -rf "$DIR/lock"
	LOCKED=''
}
