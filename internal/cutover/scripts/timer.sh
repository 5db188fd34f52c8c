#!/bin/sh
# Part of the scripts for hosts: the timer that puts the key files back.
#
# "armed" in the folder lists the timers that count, one per line: when it is
# due, how, and by what. A timer that is not listed does nothing
# when it goes off: removing the list disarms, whatever else remains.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# stamp SECONDS sets year, month, day, hour, minute and second of a time in UTC.
# date -d is not everywhere.
stamp() {
	days=$(($1 / 86400)) rest=$(($1 % 86400))
	z=$((days + 719468))
	era=$((z / 146097))
	doe=$((z - era * 146097))
	yoe=$(((doe - doe / 1460 + doe / 36524 - doe / 146096) / 365))
	doy=$((doe - (365 * yoe + yoe / 4 - yoe / 100)))
	mp=$(((5 * doy + 2) / 153))
	day=$((doy - (153 * mp + 2) / 5 + 1))
	month=$((mp < 10 ? mp + 3 : mp - 9))
	year=$((yoe + era * 400))
	[ "$month" -gt 2 ] || year=$((year + 1))
	hour=$((rest / 3600)) minute=$((rest % 3600 / 60)) second=$((rest % 60))
}

unit_of() { unit=migrate-restore-$1-$TOKEN; }

# by_systemd DUE makes a timer unit that outlives a reboot. It also counts from
# now, should the clock be set back.
by_systemd() {
	[ -d "$SYSTEMD" ] && have systemctl || return 1
	unit_of "$1"
	stamp "$1"
	cat >"$UNITS/$unit.service" <<UNIT || return 1
[Unit]
Description=migrate: put SSH key files back
[Service]
Type=oneshot
ExecStart=/bin/sh $DIR/restore timer $1
UNIT
	cat >"$UNITS/$unit.timer" <<UNIT || return 1
[Unit]
Description=migrate: put SSH key files back unless told otherwise
[Timer]
OnCalendar=$(printf '%04d-%02d-%02d %02d:%02d:%02d' "$year" "$month" "$day" "$hour" "$minute" "$second") UTC
OnActiveSec=$AFTER
AccuracySec=1s
Persistent=true
[Install]
WantedBy=timers.target
UNIT
	flush "$UNITS/$unit.service" "$UNITS/$unit.timer" "$UNITS"
	systemctl daemon-reload >/dev/null 2>&1 && systemctl enable "$unit.timer" >/dev/null 2>&1 && systemctl start "$unit.timer" >/dev/null 2>&1 && alive "$1" systemd "$unit"
}

# by_at DUE queues a job of at's, whose times are full minutes.
by_at() {
	have at && have atq && running atd || return 1
	stamp $((($1 + 59) / 60 * 60))
	said=$(printf '/bin/sh %s/restore timer %s\n' "$DIR" "$1" | TZ=UTC0 at -t "$(printf '%04d%02d%02d%02d%02d' "$year" "$month" "$day" "$hour" "$minute")" 2>&1) || return 1
	job=${said##*job }
	job=${job%% *}
	case $job in '' | *[!0-9]*) return 1 ;; esac
}

# running NAME tells whether a process of that name is there.
running() {
	set +f
	for p in /proc/[0-9]*; do
		comm=''
		{ read -r comm <"$p/comm"; } 2>/dev/null
		if [ "$comm" = "$1" ]; then
			set -f
			return 0
		fi
	done
	set -f
	return 1
}

# by_sh DUE leaves a shell behind that waits. It does not outlive a reboot.
by_sh() {
	rm -f "$DIR/waiting.$1"
	if have setsid; then
		setsid sh "$DIR/restore" wait "$1" </dev/null >/dev/null 2>&1 &
	else
		nohup sh "$DIR/restore" wait "$1" </dev/null >/dev/null 2>&1 &
	fi
	tries=0
	until [ -s "$DIR/waiting.$1" ]; do
		tries=$((tries + 1))
		[ "$tries" -le 10 ] || return 1
		sleep 1
	done
	pid=$(cat "$DIR/waiting.$1")
	pid=${pid%% *}
}

# alive DUE HOW ID tells whether a listed timer will go off.
alive() {
	case $2 in
	systemd) [ "$(systemctl is-active "$3.timer" 2>/dev/null)" = active ] ;;
	at)
		# A line begins with the number; the time in it has numbers, too.
		queue=$(atq 2>/dev/null)
		IFS=$NL
		for job in $queue; do
			if [ "${job%%[!0-9]*}" = "$3" ]; then
				IFS=$DEF
				return 0
			fi
		done
		IFS=$DEF
		return 1
		;;
	sh)
		waiter='' since=''
		boot
		{ read -r waiter since <"$DIR/waiting.$1"; } 2>/dev/null
		[ -n "$waiter" ] && [ "$since" = "$boot" ] && [ -d "/proc/$waiter" ] || return 1
		# The number may belong to another process by now.
		line=''
		{ read -r line <"/proc/$waiter/cmdline"; } 2>/dev/null
		case $line in '' | *restore*wait*) ;; *) return 1 ;; esac
		;;
	*) return 1 ;;
	esac
}

# clean_up DUE HOW ID removes a timer that does not count any more.
clean_up() {
	case $2 in
	systemd)
		systemctl stop "$3.timer" >/dev/null 2>&1
		systemctl disable "$3.timer" >/dev/null 2>&1
		rm -f "$UNITS/$3.timer" "$UNITS/$3.service" "$UNITS/timers.target.wants/$3.timer"
		systemctl daemon-reload >/dev/null 2>&1
		;;
	at) atrm "$3" 2>/dev/null ;;
	sh)
		if alive "$1" sh -; then kill "$waiter" 2>/dev/null; fi
		rm -f "$DIR/waiting.$1"
		;;
	esac
	return 0
}

# timers prints the listed timers and sets due to the earliest that will go off.
timers() {
	due='' how=''
	if [ -f "$DIR/armed" ]; then
		while read -r at by id; do
			if alive "$at" "$by" "$id"; then
				say timer "$at" "$by" live "$id"
				if [ -z "$due" ] || [ "$at" -lt "$due" ]; then due=$at how=$by; fi
			else
				say timer "$at" "$by" dead "$id"
			fi
		done <"$DIR/armed"
	fi
	if [ -f "$DIR/fired" ]; then say fired "$(cat "$DIR/fired")"; fi
	say now "$(now)"
}

observe_timer() {
	as_root
	timers
}

# list LINE puts a timer on the list, next to those in old.
list() {
	printf '%s\n' "$1${old:+$NL}$old" | put armed || refuse full "cannot list the timer in $DIR"
}

# arm lists the new timer before it starts, and takes old ones off the list only
# when the new one runs: there is always one that counts.
arm() {
	as_root
	folder
	lock
	saved_script | put restore || refuse full "cannot save the restore script in $DIR"
	start=$(now)
	at=$((start + AFTER))
	old=''
	if [ -f "$DIR/armed" ]; then old=$(cat "$DIR/armed"); fi
	rm -f "$DIR/fired"
	unit_of "$at"
	list "$at systemd $unit"
	if by_systemd "$at"; then
		by=systemd id=$unit
	else
		rm -f "$UNITS/$unit.timer" "$UNITS/$unit.service"
		job=''
		list "$at at -"
		if by_at "$at"; then
			by=at id=$job
		else
			list "$at sh -"
			by_sh "$at" || refuse timer "neither systemd nor at nor a shell in the background can be made to wait"
			by=sh id=$pid
		fi
	fi
	before=$old old=''
	list "$at $by $id"
	IFS=$NL
	for l in $before; do
		IFS=$DEF
		set -- $l
		[ "$1" = "$at" ] || clean_up "$1" "$2" "$3"
	done
	IFS=$DEF
	timers
}

# disarm takes the list away first: what goes off then finds that it does not
# count. What a try that died has left to be removed is in the list "disarmed".
disarm() {
	as_root
	if [ -d "$DIR" ]; then
		folder
		lock
		remove_disarmed
		if [ -f "$DIR/armed" ]; then
			mv -f "$DIR/armed" "$DIR/disarmed" || refuse full "cannot remove $DIR/armed"
			flush "$DIR"
			remove_disarmed
		fi
	fi
	timers
}

remove_disarmed() {
	[ -f "$DIR/disarmed" ] || return 0
	before=$(cat "$DIR/disarmed")
	IFS=$NL
	for l in $before; do
		IFS=$DEF
		set -- $l
		clean_up "$1" "$2" "$3"
	done
	IFS=$DEF
	rm -f "$DIR/disarmed"
}
