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

# stage NUMBER PATH FROM [MORE] prepares, next to PATH, a file with the owner,
# mode and attributes of FROM and the content of FROM, or of MORE where given.
# The folder around PATH may belong to a user, who can rename
# what is in it: so the work is done in a folder of root's, from within it.
stage() {
	dir=${2%/*}
	(
		mkdir -m 700 "$dir/.migrate-$TOKEN" 2>/dev/null
		cd -P "$dir/.migrate-$TOKEN" || exit 1
		[ "$(pwd -P)" = "$dir/.migrate-$TOKEN" ] || exit 1
		case $(stat -c '%u %a' .) in '0 700' | '0 2700') ;; *) exit 1 ;; esac
		rm -f "./$1" || exit 1
		cp -a "$3" "./$1" 2>/dev/null || cp -p "$3" "./$1" || exit 1
		want=$3
		if [ -n "$4" ]; then
			cat "$4" >"./$1" || exit 1
			want=$4
		fi
		sum "$want" || exit 1
		content=$s
		sum "./$1" || exit 1
		[ "$s" = "$content" ] || exit 1
		flush "./$1"
	)
}

# swap NUMBER PATH SHA puts a staged file into its place, if PATH still has the
# content with this SHA-256 ("-": if there is nothing).
swap() {
	dir=${2%/*} name=${2##*/}
	(
		cd -P "$dir/.migrate-$TOKEN" || exit 1
		[ "$(pwd -P)" = "$dir/.migrate-$TOKEN" ] || exit 1
		if [ "$3" = - ]; then
			[ ! -e "../$name" ] || exit 2
		else
			{ [ ! -L "../$name" ] && sum "../$name"; } || exit 2
			[ "$s" = "$3" ] || exit 2
		fi
		mv -f "./$1" "../$name" || exit 1
		flush ..
	)
}

# tidy NUMBER PATH removes what stage left.
tidy() {
	dir=${2%/*}
	[ -d "$dir/.migrate-$TOKEN" ] || return 0
	(
		cd -P "$dir/.migrate-$TOKEN" || exit 0
		[ "$(pwd -P)" = "$dir/.migrate-$TOKEN" ] && rm -f "./$1"
	)
	rmdir "$dir/.migrate-$TOKEN" 2>/dev/null
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
		[ -f "$3" ] && [ ! -L "$3" ] && mkdir -p "$DIR/foreign" "$DIR/merged" && cp -p "$3" "$DIR/foreign/$1" || return 1
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
