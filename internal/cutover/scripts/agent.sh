#!/bin/sh
# Part of the scripts for hosts: the SSM Agent. What changes it may end the very
# agent that runs this script: so the work is left to a process of its own, which
# writes "agent-result", and somebody looks later.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

SNAP_UNIT=snap.amazon-ssm-agent.amazon-ssm-agent.service

# find_agent sets form (rpm, deb, snap, file or empty), program, unit, version,
# running, enabled and masked (yes, runtime or no).
find_agent() {
	form='' program='' unit=amazon-ssm-agent.service version='' running=unknown enabled=unknown masked=no
	if [ -e "$ROOT/snap/amazon-ssm-agent/current" ]; then
		form=snap unit=$SNAP_UNIT program=$ROOT/snap/amazon-ssm-agent/current/amazon-ssm-agent
		while read -r k v; do
			if [ "$k" = version: ]; then version=$v; fi
		done 2>/dev/null <"$ROOT/snap/amazon-ssm-agent/current/meta/snap.yaml"
	elif [ -e "$ROOT/var/lib/dpkg/info/amazon-ssm-agent.list" ]; then
		form=deb
	elif have rpm && rpm -q amazon-ssm-agent >/dev/null 2>&1; then
		form=rpm
	fi
	for d in "$ROOT/usr/bin" "$ROOT/usr/sbin"; do
		if [ -z "$program" ] && [ -x "$d/amazon-ssm-agent" ]; then
			program=$d/amazon-ssm-agent
			[ -n "$form" ] || form='file'
		fi
	done
	if [ -n "$program" ] && [ "$form" != snap ]; then
		# The update document changes the program behind the package's back.
		v=$("$program" -version 2>/dev/null)
		case $v in *[vV]ersion:*) version=${v##*[vV]ersion: } ;; esac
		version=${version%%[!0-9.]*}
	fi
	if have systemctl; then
		case $(systemctl is-active "$unit" 2>/dev/null) in active) running=yes ;; inactive | failed | activating | deactivating) running=no ;; esac
		case $(systemctl is-enabled "$unit" 2>/dev/null) in
		enabled) enabled=yes ;;
		masked) enabled=no masked=yes ;;
		masked-runtime) enabled=no masked=runtime ;;
		disabled | enabled-runtime | linked | linked-runtime | transient) enabled=no ;;
		esac
	else
		running=no
		if agent_runs; then running=yes; fi
	fi
	[ -n "$program" ] || running=no enabled=no
}

# agent_runs looks for the agent among the processes.
agent_runs() {
	set +f
	for p in /proc/[0-9]*; do
		comm=''
		{ read -r comm <"$p/comm"; } 2>/dev/null
		# The kernel keeps 15 characters of a name.
		if [ "$comm" = amazon-ssm-agen ]; then
			set -f
			return 0
		fi
	done
	set -f
	return 1
}

tell_agent() {
	find_agent
	say agent "${form:--}" "${version:--}" "$running" "$enabled" "$masked"
	if [ -f "$DIR/agent-result" ]; then
		read -r r rest <"$DIR/agent-result"
		say result "$r" "$rest"
	fi
}

observe_agent() {
	as_root
	tell_agent
}

# change_agent starts the work, once per JOB.
change_agent() {
	as_root
	folder
	lock
	r='' rest=0
	if [ -f "$DIR/agent-result" ]; then read -r r rest <"$DIR/agent-result"; fi
	case $rest in '' | *[!0-9]*) rest=0 ;; esac
	# Work that was cut off, by a reboot perhaps, begins anew.
	if [ "$r" != "$JOB.running" ] || [ $(($(now) - rest)) -gt 900 ]; then
		work_script | put agent-work || refuse full "cannot write in $DIR"
		printf '%s.running %s\n' "$JOB" "$(now)" | put agent-result || refuse full "cannot write in $DIR"
		if [ -d "$SYSTEMD" ] && have systemd-run && systemd-run --collect --unit "migrate-agent-$JOB" /bin/sh "$DIR/agent-work" >/dev/null 2>&1; then
			:
		elif [ -d "$SYSTEMD" ] && have systemd-run && systemd-run --unit "migrate-agent-$JOB" /bin/sh "$DIR/agent-work" >/dev/null 2>&1; then
			: # systemd before 236 has no --collect
		elif have setsid; then
			setsid sh "$DIR/agent-work" </dev/null >/dev/null 2>&1 &
		else
			nohup sh "$DIR/agent-work" </dev/null >/dev/null 2>&1 &
		fi
	fi
	say started "$JOB"
}
