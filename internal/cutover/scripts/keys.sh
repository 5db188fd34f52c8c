#!/bin/sh
# Part of the scripts for hosts: key files, observed and quarantined.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# look goes through all key files. It sets open to the number of files that hold
# keys which do not stay, OPEN to their lines of FILES, and usable to the file in
# which sshd accepts the recovery key.
look() {
	open=0 OPEN='' usable='' unusable='' total=0 listed=0
	rest=$FILES
	IFS=$NL
	for l in $FILES; do
		IFS=$T
		set -- $l
		IFS=$DEF
		size=$(stat -c %s "$1")
		[ "${size:-0}" -le "$MAX_FILE" ] || refuse many "$1 is larger than $MAX_FILE bytes"
		scan "$1" >/dev/null
		if [ "$go" != 0 ]; then
			open=$((open + 1))
			OPEN="$OPEN$1$NL"
		fi
		if [ -n "$rescue" ]; then
			if [ "$4" != yes ]; then
				unusable="sshd takes no public keys for the account of $1"
			elif [ "$3" = yes ] && ! modes "$1" "$2" "$5"; then
				unusable="sshd ignores $1: $bad"
			else
				usable=$1
			fi
		fi
	done
	IFS=$DEF
}

# show STATE PATH prints what a file is, as long as the output has room.
show() {
	listed=$((listed + 1))
	total=$((total + ${#2} + 120))
	if [ "$total" -gt "$MAX_OUTPUT" ]; then
		more=$((more + 1))
		return 0
	fi
	s=-
	m='- - - -'
	if [ -f "$2" ]; then
		sum "$2" || s=-
		m=$(stat -c '%u %g %a %Y' "$2")
	fi
	say file "$1" $m "$s" "$2"
}

# tell prints the state of all files: those of the manifest by what became of
# them, others by whether they hold keys that do not stay.
tell() {
	total=0 more=0 saved=0 quarantined=0 original=0 foreign=0 KNOWN=$NL
	if [ -f "$DIR/manifest" ]; then
		while IFS=$T read -r n uid group mode time before after path; do
			state "$path" "$before" "$after" "$n"
			saved=$((saved + 1))
			case $state in
			quarantined) quarantined=$((quarantined + 1)) ;;
			original) original=$((original + 1)) ;;
			*) foreign=$((foreign + 1)) ;;
			esac
			KNOWN="$KNOWN$path$NL"
			show "$state" "$path"
		done <"$DIR/manifest"
	fi
	IFS=$NL
	for f in $OPEN; do
		IFS=$DEF
		case $KNOWN in *"$NL$f$NL"*) ;; *) show open "$f" ;; esac
	done
	IFS=$DEF
	[ "$more" = 0 ] || say more "$more"
	say count "$nfiles" "$open" "$saved" "$quarantined" "$original" "$foreign"
	if [ -n "$usable" ]; then say recovery yes "$usable"; else say recovery no "${unusable:-no file that sshd reads holds the recovery key}"; fi
	if [ -f "$DIR/restored" ]; then say restored "$(cat "$DIR/restored")"; fi
	if [ -f "$DIR/fired" ]; then say fired "$(cat "$DIR/fired")"; fi
}

observe_keys() {
	as_root
	find_files
	look
	tell
}

# observe_saved looks at the saved files alone.
observe_saved() {
	as_root
	nfiles=0 open=0 OPEN='' usable='' unusable='' listed=0
	tell
}

# timed makes sure that somebody puts the files back if nobody confirms.
timed() {
	timers >/dev/null
	[ -n "$due" ] || refuse timer "no timer is armed on this host: nothing is closed without one"
	[ $((due - $(now))) -ge 30 ] || refuse timer "the timer goes off within 30 seconds"
}

# fresh saves all files that will change and prepares what replaces them. Nothing
# that sshd reads changes here: this is where full and read-only disks show.
fresh() {
	past=0
	while [ -e "$DIR/old.$past" ]; do past=$((past + 1)); done
	# The manifest goes first: without it, the rest does not count.
	for f in manifest restored files new foreign merged turned; do
		[ ! -e "$DIR/$f" ] || { mkdir -p "$DIR/old.$past" && mv -f "$DIR/$f" "$DIR/old.$past/$f"; } || refuse full "cannot put earlier before-images aside in $DIR"
	done
	mkdir "$DIR/files" "$DIR/new" || refuse full "cannot make folders in $DIR"
	# What is done next to a file must be known before: an undo tidies it.
	n=0 LINES_OUT=''
	IFS=$NL
	for f in $OPEN; do
		n=$((n + 1))
		LINES_OUT="$LINES_OUT$n$T-$T-$T-$T-$T-$T-$T$f$NL"
	done
	IFS=$DEF
	printf '%s' "$LINES_OUT" | put manifest.next || refuse full "cannot write the manifest in $DIR"
	n=0 LINES_OUT=''
	IFS=$NL
	for f in $OPEN; do
		IFS=$DEF
		n=$((n + 1))
		take "$n" "$f" "$DIR/files/$n" 2>/dev/null || unready "$DIR/manifest.next" "cannot save $f in $DIR: it is immutable, on a read-only file system or no longer a file, or its folder is not safe, or the disk is full"
		sum "$DIR/files/$n" && before=$s || refuse full "cannot read $DIR/files/$n"
		scan "$DIR/files/$n" >"$DIR/new/$n" || refuse full "cannot write in $DIR"
		sum "$DIR/new/$n" || refuse full "cannot read $DIR/new/$n"
		m=$(stat -c '%u %g %a %Y' "$DIR/files/$n")
		IFS=' '
		set -- $m
		IFS=$DEF
		LINES_OUT="$LINES_OUT$n$T$1$T$2$T$3$T$4$T$before$T$s$T$f$NL"
		flush "$DIR/files/$n" "$DIR/new/$n"
	done
	IFS=$DEF
	flush "$DIR/files" "$DIR/new"
	printf '%s' "$LINES_OUT" | put manifest.next || unready "$DIR/manifest.next" "cannot write the manifest in $DIR"
}

# prepare MANIFEST stages all of its files that are not quarantined yet.
prepare() {
	while IFS=$T read -r n uid group mode time before after path; do
		state "$path" "$before" "$after" "$n"
		if [ "$state" = original ]; then
			if ! (pin "$n" "$path") 2>/dev/null; then unready "$1" "$path is immutable, on a read-only file system or no longer a file"; fi
			stage "$n" "$path" "$DIR/files/$n" "$DIR/new/$n" 2>/dev/null || unready "$1" "cannot write next to $path: the disk is full, read-only, or the folder is not safe"
		fi
	done <"$1"
}

# unready MANIFEST TEXT gives up before the first change.
unready() {
	while IFS=$T read -r n uid group mode time before after path; do tidy "$n" "$path"; done <"$1"
	refuse full "$2"
}

# replace swaps all files of the manifest. One that cannot be swapped takes the
# others back.
replace() {
	trouble=''
	while IFS=$T read -r n uid group mode time before after path; do
		if [ -z "$trouble" ]; then
			state "$path" "$before" "$after" "$n"
			if [ "$state" = original ]; then
				swap "$n" "$path" "$before" 2>/dev/null || trouble="$path could not be replaced"
			elif [ "$state" != quarantined ]; then
				trouble="$path was changed meanwhile"
			fi
		fi
		tidy "$n" "$path"
	done <"$DIR/manifest"
	[ -n "$trouble" ] || return 0
	restore undo
	refuse partly "$trouble; the others were put back"
}

quarantine() {
	as_root
	folder
	lock
	find_files
	look
	if [ "$open" = 0 ] && [ -n "$usable" ]; then
		tell
		return 0
	fi
	[ -n "$usable" ] || refuse unusable "the recovery key would not open this host: ${unusable:-no file that sshd reads holds it}"
	timed
	tell >/dev/null
	if [ "$quarantined" != 0 ]; then
		[ "$foreign" = 0 ] || refuse foreign "somebody changed key files after the quarantine began"
		IFS=$NL
		for f in $OPEN; do
			IFS=$DEF
			case $KNOWN in *"$NL$f$NL"*) ;; *) refuse foreign "somebody put keys into $f after the quarantine began" ;; esac
		done
		IFS=$DEF
		prepare "$DIR/manifest"
	else
		fresh
		prepare "$DIR/manifest.next"
		put manifest <"$DIR/manifest.next" || unready "$DIR/manifest.next" "cannot write the manifest in $DIR"
		rm -f "$DIR/manifest.next"
	fi
	replace
	find_files
	look
	tell
}
