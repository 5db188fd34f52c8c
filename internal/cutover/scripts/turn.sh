#!/bin/sh
# Part of the scripts for hosts: one generation of the recovery key takes the
# place of another, in the files that sshd reads and in those that a rollback
# would put back.
# shellcheck disable=SC2030,SC2031,SC2034,SC2086,SC2154,SC2317

# holds FILE tells whether a line of the file has one of the keys of KEEP.
holds() {
	if [ ! -f "$1" ]; then return 1; fi
	while IFS= read -r l || [ -n "$l" ]; do
		s=${l#"${l%%[! $T]*}"}
		case $s in
		'' | '#'*) ;;
		*) if stays "$s"; then return 0; fi ;;
		esac
	done <"$1"
	return 1
}

# wants HOW FILE tells whether turning the file would change it.
wants() {
	case $1 in
	add)
		KEEP=$OLD
		holds "$2" || return 1
		KEEP=$RECOVERY
		! holds "$2"
		;;
	drop)
		KEEP=$DROP
		holds "$2"
		;;
	back)
		KEEP=$RECOVERY
		holds "$2" || return 1
		KEEP=$OLD
		! holds "$2"
		;;
	esac
}

emit() {
	printf '%s%s' "$end" "$1" || return 1
	end=$NL
}

# turn_line HOW LINE copies a line and what belongs beside it.
turn_line() {
	s=${2#"${2%%[! $T]*}"} hit=''
	case $s in
	'' | '#'*) ;;
	*) if stays "$s"; then hit=$1; fi ;;
	esac
	case $hit in
	drop) return 0 ;;
	add)
		emit "$2" || return 1
		if [ -n "$once" ]; then return 0; fi
		once=yes
		emit "$LINE"
		;;
	back)
		if [ -z "$once" ]; then emit "$BACK" || return 1; fi
		once=yes
		emit "$2"
		;;
	*) emit "$2" ;;
	esac
}

# turn HOW copies key lines: "add" puts LINE behind the first with a key of OLD,
# "back" puts BACK before the first with RECOVERY, "drop" leaves those with DROP out.
turn() {
	end='' once=''
	case $1 in
	add) KEEP=$OLD ;;
	drop) KEEP=$DROP ;;
	back) KEEP=$RECOVERY ;;
	esac
	while IFS= read -r l; do
		turn_line "$1" "$l" || return 1
	done
	if [ -n "$l" ]; then
		turn_line "$1" "$l"
		return
	fi
	if [ -n "$end" ]; then printf '\n'; fi
}

# whole FILE TO copies a file by way of the shell, which loses some bytes, such
# as NUL: it fails where that would happen.
whole() {
	sum "$1" || return 1
	seen=$s
	copy all <"$1" >"$2" && sum "$2" && [ "$s" = "$seen" ]
}

# turn_live HOW turns a file that sshd reads.
turn_live() {
	model
	[ "$seen" != - ] || replaced
	whole "$model" "$DIR/new-key" || refuse unsafe "$file holds bytes that are no text, or $DIR is full: change its recovery key by hand"
	turn "$1" <"$model" >"$DIR/new-key" || refuse full "cannot write in $DIR"
	rewrite
}

# turn_copy HOW FILE TO turns a saved file into another, and sets s to its sum.
turn_copy() {
	[ ! -L "$2" ] || return 1
	if wants "$1" "$2"; then
		whole "$2" "$3.part" || return 1
		turn "$1" <"$2" >"$3.part" || return 1
	else
		cat "$2" >"$3.part" || return 1
	fi
	{ cp -a "$2" "$3" 2>/dev/null || cp -p "$2" "$3"; } && cat "$3.part" >"$3" && rm -f "$3.part" || return 1
	touch -r "$2" "$3" 2>/dev/null
	sum "$3" && flush "$3"
}

# number sets m to a number that nothing is saved under.
number() {
	m=${1%%.*} k=1
	while [ -e "$DIR/files/$m.$k" ] || [ -e "$DIR/new/$m.$k" ]; do k=$((k + 1)); done
	m=$m.$k
}

# turn_folder HOW turns what a quarantine has saved in the folder. The manifest
# is replaced at once, and knows the live file as it is and as it will be: at
# each moment a rollback finds its way.
turn_folder() {
	ENTRIES='' turned_any=''
	while IFS=$T read -r n uid group mode time before after path; do
		m=$n sum_before=$before sum_after=$after
		if wants "$1" "$DIR/files/$n" || wants "$1" "$DIR/new/$n"; then
			turned_any=yes
			number "$n"
			mkdir -p "$DIR/turned" || refuse full "cannot write in $DIR"
			turn_copy "$1" "$DIR/files/$n" "$DIR/files/$m" || refuse full "cannot write in $DIR, or files/$n there is no text"
			sum_before=$s
			turn_copy "$1" "$DIR/new/$n" "$DIR/new/$m" || refuse full "cannot write in $DIR, or new/$n there is no text"
			sum_after=$s
			{
				if [ -f "$DIR/turned/$n" ]; then cat "$DIR/turned/$n"; fi
				printf '%s %s\n' "$before" "$after"
			} >"$DIR/turned/$m" || refuse full "cannot write in $DIR"
			if [ -f "$DIR/merged/$n" ]; then
				{
					cat "$DIR/merged/$n"
					if [ -f "$path" ]; then turn "$1" <"$path" | sha256sum | { read -r s _ && printf '%s\n' "$s"; }; fi
				} >"$DIR/merged/$m" || refuse full "cannot write in $DIR"
			fi
		fi
		ENTRIES="$ENTRIES$m$T$uid$T$group$T$mode$T$time$T$sum_before$T$sum_after$T$path$NL"
	done <"$DIR/manifest"
	if [ -n "$turned_any" ]; then
		flush "$DIR/files" "$DIR/new" "$DIR/turned"
		printf '%s' "$ENTRIES" | put manifest || refuse full "cannot write the manifest in $DIR"
	fi
	sweep "$1"
}

# sweep HOW removes saved files that the manifest no longer names, and turns
# those that are kept for people alone.
sweep() {
	NAMED=$NL
	while IFS=$T read -r n _; do NAMED="$NAMED$n$NL"; done <"$DIR/manifest"
	set +f
	for f in "$DIR"/files/* "$DIR"/new/* "$DIR"/turned/* "$DIR"/merged/*; do
		set -f
		case $NAMED in *"$NL${f##*/}$NL"*) ;; *) rm -f "$f" ;; esac
	done
	set +f
	for f in "$DIR"/foreign/*; do
		set -f
		if [ -f "$f" ] && wants "$1" "$f"; then
			turn "$1" <"$f" >"$DIR/foreign.part" && mv -f "$DIR/foreign.part" "$f" || refuse full "cannot write in $DIR"
		fi
	done
	set -f
}

# each_saved DO goes through the folders of all plans, with those that were put
# aside, and calls DO in each that has a manifest.
each_saved() {
	set +f
	for d in "$BASE"/migrate-* "$BASE"/migrate-*/old.*; do
		set -f
		if [ -f "$d/manifest" ] && [ ! -L "$d" ]; then
			"$@" "$d" || return 1
		fi
	done
	set -f
}

turn_saved() {
	(
		LOCKED=''
		case $2 in
		"$DIR" | */old.*) DIR=$2 ;;
		*)
			DIR=$2
			lock
			;;
		esac
		turn_folder "$1"
		unlock
	) || exit 3
}

# forget takes the word about former sums away once the live files have turned.
forget() { rm -rf "$1/turned"; }

count_saved() {
	set +f
	for f in "$1"/files/* "$1"/new/* "$1"/foreign/*; do
		set -f
		KEEP=$OLD
		if holds "$f"; then saved=$((saved + 1)); fi
	done
	set -f
}

# tell_retired says how many files have an old key, live and saved, how the old
# lines of the account's file read, and whether sshd accepts the new key.
tell_retired() {
	account
	has_line
	accepted=yes bad=-
	if [ "$found" = 0 ]; then
		accepted=no bad="the new recovery key is not in $file"
	elif [ "$strict" = yes ] && ! modes "$file" "$id" "$home"; then
		accepted=no
	fi
	KEEP=$OLD live=0 saved=0
	if [ -f "$file" ]; then
		while IFS= read -r l || [ -n "$l" ]; do
			s=${l#"${l%%[! $T]*}"}
			case $s in
			'' | '#'*) ;;
			*) if stays "$s"; then say old "$l"; fi ;;
			esac
		done <"$file"
	fi
	say path "$file"
	find_files
	KEEP=$OLD
	rest=$FILES
	IFS=$NL
	for l in $rest; do
		IFS=$DEF
		if holds "${l%%"$T"*}"; then live=$((live + 1)); fi
	done
	IFS=$DEF
	each_saved count_saved
	say retired "$live" "$saved" "$accepted" "$bad"
}

observe_retired() {
	as_root
	tell_retired
}

# retire takes the old keys off the host. What is saved turns first: a rollback
# in between restores files that have the new key.
retire() {
	as_root
	folder
	lock
	account
	has_line
	[ "$found" != 0 ] || refuse unusable "the new recovery key is not in $file: the old one stays"
	if [ "$strict" = yes ] && ! modes "$file" "$id" "$home"; then
		refuse unusable "sshd ignores $file ($bad): the old recovery key stays"
	fi
	rm -f "$DIR/key-model" "$DIR/new-key" # of a try that died
	DROP=$OLD
	each_saved turn_saved add
	each_saved turn_saved drop
	find_files
	rest=$FILES
	IFS=$NL
	for line in $rest; do
		IFS=$DEF
		file=${line%%"$T"*}
		if wants drop "$file"; then turn_live drop; else tidy key "$file"; fi
		IFS=$NL
	done
	IFS=$DEF
	each_saved forget
	tell_retired
}

# unretire puts BACK, the old lines, before the new one, wherever that stands.
unretire() {
	as_root
	folder
	lock
	account
	if [ -n "$BACK" ]; then
		each_saved turn_saved back
		if wants back "$file"; then
			turn_live back
		else
			KEEP=$OLD
			if ! holds "$file"; then
				LINE=$BACK
				append
			fi
		fi
		each_saved forget
	fi
	rm -f "$DIR/key-model" "$DIR/new-key"
	tidy key "$file"
	tell_retired
}
