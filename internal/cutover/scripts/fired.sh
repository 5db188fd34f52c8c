#!/bin/sh
# Part of the scripts for hosts: what the saved script does when the timer calls it.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# go_off DUE restores, if the timer still counts, and leaves word of it.
go_off() {
	as_root
	lock
	listed=''
	if [ -f "$DIR/armed" ]; then
		while read -r at by id; do
			if [ "$at" = "$1" ]; then listed="$by $id"; fi
		done <"$DIR/armed"
	fi
	[ -n "$listed" ] || return 0
	restore timer
	printf '%s %s %s %s %s\n' "$(now)" "$1" "$back" "$foreign" "$failed" | put fired
	# One that could not put everything back tries again: a full disk may pass.
	if [ "$failed" != 0 ]; then return 1; fi
	rm -f "$DIR/armed"
	case $listed in
	sh*) rm -f "$DIR/waiting.$1" ;; # this very shell
	*) clean_up "$1" $listed ;;
	esac
}

# called MODE DUE is the saved script's entry. "now" is for a person who got in by
# another way: it needs no timer.
called() {
	case $1 in
	now)
		(
			as_root
			[ -f "$DIR/manifest" ] || refuse none "there are no saved key files in $DIR"
			lock
			restore timer
			[ "$failed" = 0 ]
		) || exit 1
		;;
	timer)
		tries=0
		until (go_off "$2"); do
			tries=$((tries + 1))
			[ "$tries" -lt 20 ] || exit 1
			sleep 30
		done
		;;
	wait)
		boot
		printf '%s %s\n' $$ "$boot" >"$DIR/waiting.$2"
		left=$(($2 - $(now)))
		while [ "$left" -gt 0 ]; do
			[ "$left" -le 60 ] || left=60
			sleep "$left"
			left=$(($2 - $(now)))
		done
		called timer "$2"
		;;
	esac
}
