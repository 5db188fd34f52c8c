#!/bin/sh
# Part of the scripts for hosts: work on the SSM Agent that others begin, by hand
# or by their own means. It can be run again: what is so already is left as it is.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# settled holds if the agent is as wanted, after find_agent.
settled() {
	case $ACTION in
	restart)
		job_state
		[ "$state" = "$JOB.done" ] && [ "$running" = yes ]
		;;
	*) [ "$running" = yes ] && [ "$enabled" = yes ] && new_enough_here ;;
	esac
}

# new_enough_here holds if the agent that is here is at the floor.
new_enough_here() {
	[ -n "$form" ] || return 1
	[ -n "$FLOOR" ] || return 0
	case $version in '' | *[!0-9.]*) return 1 ;; esac
	! older "$version" "$FLOOR"
}

# job_state sets state to what the last work on the agent has come to.
job_state() {
	state='' why=''
	if [ -f "$DIR/agent-result" ]; then read -r state why <"$DIR/agent-result"; fi
}

# hand_work is what the process of its own does.
hand_work() {
	find_agent
	case $ACTION in
	install | upgrade) if new_enough_here; then ACTION=enable; fi ;;
	esac
	work
}

# hand_agent begins the work and waits for its end. MODE start does not wait:
# the agent that runs this may go away. MODE look only waits.
hand_agent() {
	as_root
	job_state
	if [ "$MODE" != look ]; then
		find_agent
		if [ "$state" != "$JOB.running" ] && settled; then
			tell_agent
			return
		fi
		change_agent
		unlock
		[ "$MODE" != start ] || return 0
	fi
	since=$(now)
	while job_state && [ "$state" = "$JOB.running" ]; do
		[ $(($(now) - since)) -le 600 ] || refuse slow "the work on the agent was begun, and no end is seen"
		sleep 2
	done
	[ "$state" != "$JOB.failed" ] || refuse failed "$why"
	tell_agent
	settled || refuse failed "the agent is not as wanted"
}
