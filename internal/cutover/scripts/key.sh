#!/bin/sh
# Part of the scripts for hosts: one line in an account's key file.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# account sets name, id, gid, home and file to the account and the first key file
# that sshd reads for it.
account() {
	if [ -n "$ACCOUNTS" ]; then
		LIST=$(cat "$ACCOUNTS")
	elif have getent; then
		LIST=$(getent passwd "$ACCOUNT" 2>/dev/null)
	fi
	[ -n "$LIST" ] || LIST=$(cat /etc/passwd)
	entry=''
	IFS=$NL
	for l in $LIST; do
		case $l in "$ACCOUNT":*) entry=$l ;; esac
	done
	IFS=$DEF
	[ -n "$entry" ] || refuse account "there is no account $ACCOUNT"
	name=$ACCOUNT id=${entry#*:*:} home=${entry%:*}
	gid=${id#*:} id=${id%%:*}
	gid=${gid%%:*} home=${home##*:}
	home=${home%/}
	case $id:$gid in : | :* | *: | *[!0-9:]*) refuse account "the entry of account $ACCOUNT cannot be read" ;; esac
	[ -d "$home/" ] || refuse account "account $ACCOUNT has no home folder $home"
	find_daemon
	daemon_options
	set -- $CONNECTION
	ask "user=$name,host=${1:-127.0.0.1},addr=${1:-127.0.0.1},laddr=${3:-127.0.0.1},lport=${4:-22}"
	[ "$pubkey" = yes ] || refuse account "sshd takes no public keys for account $ACCOUNT"
	file=''
	for w in $akf; do
		[ -n "$file" ] || expand "$w"
	done
	[ -n "$file" ] || refuse account "sshd reads no key file for account $ACCOUNT"
	if [ -e "$file" ]; then
		named=$file
		file=$(readlink -f "$file")
		[ -f "$file" ] || refuse unsafe "$file is no file"
		owner "$file"
		case $of in "$id" | 0) ;; *) refuse unsafe "$file belongs to user $of" ;; esac
		inside "$named" "$file" || refuse unsafe "$named is a symbolic link to $file, which belongs to root"
	elif [ -L "$file" ]; then
		refuse unsafe "$file is a symbolic link to nothing"
	fi
}

# has_line sets found to how many lines of the file hold the key, later to how
# many hold one of a later generation, and exact where one is the wanted line.
has_line() {
	found=0 later=0 exact='' KEEP="$RECOVERY $LATER"
	[ -f "$file" ] || return 0
	while IFS= read -r l || [ -n "$l" ]; do
		s=${l#"${l%%[! $T]*}"}
		case $s in
		'' | '#'*) ;;
		*)
			if stays "$s"; then
				case " $LATER " in
				*" $b "*) later=$((later + 1)) ;;
				*) found=$((found + 1)) ;;
				esac
				[ "$l" != "$LINE" ] || exact=yes
			fi
			;;
		esac
	done <"$file"
}

tell_key() {
	has_line
	state=absent
	if [ -n "$exact" ]; then
		state=present
	elif [ "$later" != 0 ]; then
		state=later
	elif [ "$found" != 0 ]; then
		state=other
	fi
	accepted=yes bad=-
	if [ "$strict" = yes ] && [ -f "$file" ] && ! modes "$file" "$id" "$home"; then accepted=no; fi
	sha=- folder_there=no
	if [ -f "$file" ] && sum "$file"; then sha=$s; fi
	[ ! -d "${file%/*}" ] || folder_there=yes
	say key "$state" "$found" "$accepted" "$sha" "$folder_there" "$bad"
	say path "$file"
	say later "$later"
}

observe_key() {
	as_root
	account
	tell_key
}

# ssh_folder makes the folder of the key file where it is missing, as the account's.
ssh_folder() {
	folder_of=${file%/*} at_home=$(readlink -f "$home")/.
	tidy key "$at_home" # of a try that died
	[ ! -d "$folder_of" ] || return 0
	[ "${folder_of%/*}" = "$home" ] || refuse account "$folder_of does not exist"
	(
		# It becomes the account's where the account cannot reach it yet.
		beside "$at_home" && mkdir ./key && mkdir -m 700 "./key/${folder_of##*/}" || exit 1
		chown -h "$id:$gid" "./key/${folder_of##*/}" && mv "./key/${folder_of##*/}" ..
	) || refuse full "cannot make $folder_of"
	tidy key "$at_home"
	label "$folder_of"
}

# label gives what is new the SELinux context that the host's policy has for it:
# sshd may not read what has another.
label() {
	[ -e "$SELINUX/enforce" ] || return 0
	if have restorecon && restorecon "$1"; then return 0; fi
	chcon -h --reference="${1%/*}" "$1" || refuse selinux "cannot give $1 the SELinux context that sshd needs"
}

# model copies the key file, or what it is to be like where there is none, into
# the folder as key-model, and sets seen to its SHA-256, or "-". All that is
# written comes from this copy: its owner can exchange the file at any moment.
model() {
	model=$DIR/key-model seen=- file_real=$file
	rm -f "$model"
	if [ -e "$file" ]; then
		take key "$file" "$model" || replaced
		sum "$model" || refuse full "cannot read $model"
		seen=$s
	else
		file_real=$(readlink -f "${file%/*}")/${file##*/}
		inside "$file" "${file_real%/*}" || refuse unsafe "$file leads out of the home folder of $name, to a folder of others"
		: >"$model" && chmod 600 "$model" && chown "$id:$gid" "$model" || refuse full "cannot write in $DIR"
	fi
}

# inside PATH REAL tells whether a path of the account's may lead to REAL. By links
# in its home folder the account can name any place of the host.
inside() {
	if [ "$id" = 0 ]; then return 0; fi
	case $1 in "$home"/*) ;; *) return 0 ;; esac
	case $2 in "$(readlink -f "$home")"/*) return 0 ;; esac
	owner "$2" && [ "$of" = "$id" ]
}

# replaced gives up where a file cannot be replaced.
replaced() {
	tidy key "$file_real"
	rm -f "$model" "$DIR/new-key"
	refuse full "cannot replace $file: the disk is full or read-only, the file is immutable, or it changes at the same time"
}

# rewrite replaces the file that model copied by what is in new-key of the folder.
rewrite() {
	stage key "$file_real" "$model" "$DIR/new-key" && swap key "$file_real" "$seen" || replaced
	tidy key "$file_real"
	rm -f "$model" "$DIR/new-key"
	if [ "$seen" = - ]; then label "$file_real"; fi
}

# append puts LINE at the end of the account's key file.
append() {
	ssh_folder
	model
	cat "$model" >"$DIR/new-key" || refuse full "cannot write in $DIR"
	# A last line without its end would swallow the new one.
	if [ -s "$model" ] && [ -n "$(tail -c 1 "$model")" ]; then
		printf '\n' >>"$DIR/new-key" || refuse full "cannot write in $DIR"
	fi
	printf '%s\n' "$LINE" >>"$DIR/new-key" || refuse full "cannot write in $DIR"
	rewrite
}

# put_key adds the line. Where it takes the place of older generations, it
# stands behind theirs, also in what is saved.
put_key() {
	as_root
	folder
	lock
	account
	if [ -n "$OLD" ]; then each_saved turn_saved add; fi
	has_line
	if [ -z "$exact" ]; then
		KEEP=$OLD
		if [ -n "$OLD" ] && holds "$file"; then turn_live add; else append; fi
	fi
	if [ -n "$OLD" ]; then each_saved forget; fi
	rm -f "$DIR/key-model" "$DIR/new-key" # of a try that died
	tidy key "$file"
	tell_key
}

# remove_key takes out the lines that hold the key, or with EXACT only those that
# are the very line, those of later generations, and nothing else. SHA is what the file was before the key
# came ("-": there was none), FOLDER whether its folder was there.
remove_key() {
	as_root
	folder
	lock
	account
	if [ -n "$OLD" ]; then
		# Never the last one: the keys that it took the place of may be gone.
		KEEP=$RECOVERY
		if holds "$file"; then
			KEEP=$OLD
			holds "$file" || refuse foreign "no older recovery key is in $file any more: the new one stays"
		fi
		DROP=$RECOVERY
		each_saved turn_saved drop
	fi
	has_line
	if [ "$found$later" != 00 ]; then
		model
		# The shell loses some bytes, such as NUL: then a line cannot be taken out.
		copy all <"$model" >"$DIR/new-key" && sum "$DIR/new-key" || refuse full "cannot write in $DIR"
		[ "$s" = "$seen" ] || refuse unsafe "$file holds bytes that are no text: take the line out by hand"
		copy others <"$model" >"$DIR/new-key" && sum "$DIR/new-key" || refuse full "cannot write in $DIR"
		if [ "$s" != "$SHA" ] && [ "$SHA" != - ]; then
			# The end of its last line may have been added with the key.
			copy ended <"$DIR/new-key" >"$DIR/new-key.cut" && sum "$DIR/new-key.cut" || refuse full "cannot write in $DIR"
			if [ "$s" = "$SHA" ]; then mv -f "$DIR/new-key.cut" "$DIR/new-key"; fi
			rm -f "$DIR/new-key.cut"
		fi
		if [ "$SHA" = - ] && [ ! -s "$DIR/new-key" ]; then
			(pin key "$file_real" && sum ./key.was && [ "$s" = "$seen" ] && rm -f "../$name") || replaced
			rm -f "$DIR/new-key"
			tidy key "$file_real"
			if [ "$FOLDER" = no ]; then rmdir "${file_real%/*}" 2>/dev/null; fi
		else
			rewrite
		fi
	fi
	if [ -n "$OLD" ]; then each_saved forget; fi
	rm -f "$DIR/key-model" "$DIR/new-key"
	tidy key "$file"
	tell_key
}

# copy WHAT copies lines: all of them, only others than the key's, or all without
# the end of the last one.
copy() {
	first=yes end=''
	while IFS= read -r l; do
		if [ "$1" != others ] || other "$l"; then
			printf '%s%s' "$end" "$l" || return 1
			end=$NL first=''
		fi
	done
	if [ -n "$l" ] && { [ "$1" != others ] || other "$l"; }; then
		printf '%s%s' "$end" "$l" || return 1
		return 0
	fi
	if [ -z "$first" ] && [ "$1" != ended ]; then printf '\n' || return 1; fi
}

other() {
	if [ -n "$EXACT" ]; then
		if [ "$1" = "$LINE" ]; then return 1; fi
		KEEP=$LATER
	fi
	s=${1#"${1%%[! $T]*}"}
	case $s in '' | '#'*) return 0 ;; esac
	! stays "$s"
}
