#!/bin/sh
# Part of the scripts for hosts: the saved key files and the way back. The
# timer runs this part alone, from a copy in the folder.
#
# The folder holds "manifest", one line per file: number, owner, group, mode,
# time of change, SHA-256 before and after, path; files/NUMBER, the file before;
# new/NUMBER, what it was replaced by. Once the manifest is there, all of it is.
# turned/NUMBER has lines of the sums before and after that the live file may
# still have while the recovery key in it and in what is saved is changed;
# merged/NUMBER those of a file that the timer has given the old lines.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# state PATH BEFORE AFTER NUMBER sets state to what became of a saved file.
state() {
	if [ ! -e "$1" ]; then
		state=missing
		return 0
	fi
	state=foreign
	[ -f "$1" ] && sum "$1" || return 0
	if [ "$s" = "$2" ]; then
		state=original
	elif [ "$s" = "$3" ]; then
		state=quarantined
	elif listed_in "$DIR/merged/$4"; then
		state=merged
	elif [ -f "$DIR/turned/$4" ]; then
		while IFS=' ' read -r was_before was_after; do
			if [ "$s" = "$was_before" ]; then
				state=original
			elif [ "$s" = "$was_after" ]; then
				state=quarantined
			fi
		done <"$DIR/turned/$4"
	fi
}

# listed_in FILE tells whether the sum s is a line of a file.
listed_in() {
	if [ ! -f "$1" ]; then return 1; fi
	while read -r one; do
		if [ "$one" = "$s" ]; then return 0; fi
	done <"$1"
	return 1
}

# beside PATH goes into a folder of root's next to a key file and sets name to the
# file's. The folder around PATH may belong to a user, who at any moment can
# rename what is in it and put links in its place. But nobody else reaches what is
# in root's folder, and ".." leads to the folder that was checked. It wants a
# subshell.
beside() {
	dir=${1%/*} name=${1##*/}
	cd -P "${dir:-/}" && [ "$(pwd -P)" = "${dir:-/}" ] || return 1
	mkdir -m 700 "./.migrate-$TOKEN" 2>/dev/null
	cd -P "./.migrate-$TOKEN" && [ "$(pwd -P)" = "$dir/.migrate-$TOKEN" ] || return 1
	case $(stat -c '%u %a' .) in '0 700' | '0 2700') ;; *) return 1 ;; esac
}

# pin NUMBER PATH goes there and gives the file a second name, NUMBER.was, behind
# which nobody can put another file. A hard link to a symbolic link is a symbolic
# link, and there is none to a file that is immutable or on a read-only file system.
pin() {
	beside "$2" && rm -rf "./$1.was" && ln "../$name" "./$1.was" || return 1
	[ ! -L "./$1.was" ] && [ -f "./$1.was" ]
}

# take NUMBER PATH TO copies a key file, with its owner, mode and attributes, into
# root's own folder: content and attributes are those of one and the same file.
take() {
	(
		pin "$1" "$2" && rm -f "$3" || exit 1
		cp -a "./$1.was" "$3" 2>/dev/null || cp -p "./$1.was" "$3" || exit 1
		rm -f "./$1.was"
		[ ! -L "$3" ] && [ -f "$3" ]
	)
}

# stage NUMBER PATH FROM [MORE] prepares, next to PATH, a file with the owner,
# mode and attributes of FROM and the content of FROM, or of MORE where given.
# Both lie in folders of root's alone.
stage() {
	(
		[ ! -L "$3" ] && [ -f "$3" ] || exit 1
		beside "$2" && rm -rf "./$1" && mkdir "./$1" || exit 1
		cp -a "$3" "./$1/$name" 2>/dev/null || cp -p "$3" "./$1/$name" || exit 1
		want=$3
		if [ -n "$4" ]; then
			cat "$4" >"./$1/$name" || exit 1
			want=$4
		fi
		sum "$want" || exit 1
		content=$s
		sum "./$1/$name" || exit 1
		[ "$s" = "$content" ] || exit 1
		flush "./$1/$name"
	)
}

# swap NUMBER PATH SHA puts a staged file into its place, if PATH still has the
# content with this SHA-256 ("-": if there is nothing).
swap() {
	(
		if [ "$3" = - ]; then
			beside "$2" || exit 1
			[ ! -e "../$name" ] && [ ! -L "../$name" ] || exit 2
		else
			pin "$1" "$2" && sum "./$1.was" || exit 2
			[ "$s" = "$3" ] || exit 2
		fi
		# Into the folder, not onto the name: that may have become a link to
		# another folder, and mv -T is not everywhere.
		mv -f "./$1/$name" .. || exit 1
		flush ..
	)
}

# tidy NUMBER PATH removes what the others left.
tidy() {
	[ -d "${2%/*}/.migrate-$TOKEN" ] || return 0
	(beside "$2" && rm -rf "./$1" "./$1.was" && cd .. && rmdir "./.migrate-$TOKEN") 2>/dev/null
	return 0
}

# give_back NUMBER BEFORE PATH STATE puts one file back.
give_back() {
	sum "$DIR/files/$1" && [ "$s" = "$2" ] || return 1
	case $4 in
	quarantined)
		sum "$3" && stage "$1" "$3" "$DIR/files/$1" '' && swap "$1" "$3" "$s"
		;;
	missing)
		[ -d "${3%/*}" ] && stage "$1" "$3" "$DIR/files/$1" '' && swap "$1" "$3" -
		;;
	foreign)
		# Somebody wrote the file anew, and the door must open all the same: both
		# contents stay.
		mkdir -p "$DIR/foreign" "$DIR/merged" && take "$1" "$3" "$DIR/foreign/$1" || return 1
		sum "$DIR/foreign/$1" || return 1
		theirs=$s
		{ cat "$DIR/foreign/$1" && echo && cat "$DIR/files/$1"; } >"$DIR/foreign/$1.both" || return 1
		sum "$DIR/foreign/$1.both" || return 1
		printf '%s\n' "$s" >"$DIR/merged/$1" || return 1
		stage "$1" "$3" "$DIR/foreign/$1" "$DIR/foreign/$1.both" && swap "$1" "$3" "$theirs"
		;;
	esac
}

# restore MODE puts all files back that are as they were left. What somebody
# changed since stays with "undo"; with "timer" it gets the old lines added.
restore() {
	back=0 foreign=0 failed=0
	[ -f "$DIR/manifest" ] || return 0
	while IFS=$T read -r n owner group mode time before after path; do
		state "$path" "$before" "$after" "$n"
		was=$state
		case $was.$1 in
		original.* | merged.*) ;;
		quarantined.* | *.timer)
			if give_back "$n" "$before" "$path" "$was"; then
				back=$((back + 1))
				say restored "$was" "$path"
			else
				failed=$((failed + 1))
				say failed "$was" "$path"
			fi
			;;
		*)
			foreign=$((foreign + 1))
			say foreign "$was" "$path"
			;;
		esac
		tidy "$n" "$path"
	done <"$DIR/manifest"
	if [ "$failed" = 0 ] && [ "$back" != 0 ]; then
		printf '%s %s\n' "$(now)" "$1" | put restored
	fi
	say restore "$back" "$foreign" "$failed"
}

# undo is the restore that somebody asks for.
undo() {
	as_root
	[ -d "$DIR" ] || {
		say restore 0 0 0
		return 0
	}
	folder
	lock
	if [ -f "$DIR/manifest.next" ]; then
		# A quarantine died before its first change.
		while IFS=$T read -r n owner group mode time before after path; do
			tidy "$n" "$path"
		done <"$DIR/manifest.next"
		rm -f "$DIR/manifest.next"
	fi
	restore undo
	[ "$failed" = 0 ] || refuse full "$failed of the key files could not be put back"
	[ "$foreign" = 0 ] || refuse foreign "$foreign of the key files were changed by somebody since: they stay, and so do the saved ones in $DIR/files"
}
