#!/bin/sh
# Part of the probe: what adds keys, and what uses SSH, as files show it.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# cloud_file FILE tells what a file of cloud-init does with keys. The file may
# hold secrets; nothing of it is printed.
cloud_file() {
	[ -e "$1" ] || return 0
	if [ ! -r "$1" ]; then
		printf 'unread\t%s\n' "$1"
		return
	fi
	n=0 module='' always='' keys='' allow=''
	while [ "$n" -lt 5000 ] && { IFS= read -r l || [ -n "$l" ]; }; do
		n=$((n + 1))
		case $l in
		*ssh* | *users* | *always* | *frequency* | *name:*) cloud_line ;;
		*) module= ;;
		esac
	done <"$1"
	[ -z "$always" ] || printf 'always\t%s\n' "$1"
	[ -z "$keys" ] || printf 'keys\t%s\n' "$1"
	[ -z "$allow" ] || printf 'allow\t%s\t%s\n' "$allow" "$1"
}

# cloud_line reads the line in l: "[ssh, always]" in any of YAML's spellings,
# ssh_authorized_keys, allow_public_ssh_keys.
cloud_line() {
	IFS=" ${T}[]{}:,\"'"
	set -- $l
	IFS=$DEF
	first='' second='' dashes=''
	for w; do
		case $w in
		'') ;;
		-) dashes=$dashes- ;;
		*)
			if [ -z "$first" ]; then
				first=$w
			elif [ -z "$second" ]; then
				second=$w
			fi
			;;
		esac
	done
	case $first in '#'*) return 0 ;; esac
	case $first=$second in
	ssh=always | users-groups=always | users_groups=always) always=yes ;;
	always= | frequency=always) [ -z "$module" ] || always=yes ;;
	ssh_authorized_keys=*) case $l in *"[]"*) ;; *) keys=yes ;; esac ;;
	allow_public_ssh_keys=[Ff]alse | allow_public_ssh_keys=[Nn]o | allow_public_ssh_keys=[Oo]ff | allow_public_ssh_keys=0) allow=no ;;
	allow_public_ssh_keys=*) allow=yes ;;
	esac
	case $dashes:$first=$second in
	*name=ssh | *name=users-groups | *name=users_groups | --*:ssh= | --*:users-groups= | --*:users_groups=) module=yes ;;
	*) module= ;;
	esac
}

p_cloudinit() {
	printf 'begin\tcloudinit\n'
	if [ -e /etc/cloud/cloud.cfg ]; then
		printf 'present\n'
		l=
		{ IFS= read -r l </proc/cmdline; } 2>/dev/null
		case $l in *cloud-init=disabled*) printf 'disabled\n' ;; esac
		if [ -e /etc/cloud/cloud-init.disabled ] || [ -e /run/cloud-init/disabled ]; then printf 'disabled\n'; fi
		set +f
		for f in /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg /var/lib/cloud/instance/vendor-cloud-config.txt \
			/var/lib/cloud/instance/cloud-config.txt /var/lib/cloud/instance/user-data.txt; do
			set -f
			cloud_file "$f"
		done
		set -f
	fi
	printf 'end\tcloudinit\n'
}

# git_remotes FILE prints those remotes of a repository that are reached by SSH.
git_remotes() {
	n=0
	while [ "$n" -lt 1000 ] && { IFS=$DEF read -r k eq v || [ -n "$k" ]; }; do
		n=$((n + 1))
		case $k$eq in
		url=) ;;
		url=*) v=${k#url=}$eq ;;
		*) continue ;;
		esac
		v=${v%%[ "$T"]*}
		case $v in
		ssh://* | git+ssh://* | ssh+git://*) ;;
		*://* | /* | .*) continue ;;
		*:*) ;;
		*) continue ;;
		esac
		without_password "$v"
		printf 'git\t%s\t%s\n' "$v" "$1"
		TRACED="$TRACED$1$NL"
	done <"$1"
}

# p_traces looks for what Ansible leaves in homes, and for repositories in the
# places where software is deployed.
p_traces() {
	printf 'begin\ttraces\n'
	TRACED='' roots=''
	IFS=$NL
	for l in $LIST; do
		user "$l" || continue
		f=$home/.ansible/tmp
		if [ -d "$f" ]; then
			printf 'ansible\t%s\t%s\n' "$name" "$f"
			TRACED="$TRACED$f$NL"
		elif [ -d "$home" ] && [ ! -x "$home" ]; then
			printf 'shut\t%s\n' "$home"
		fi
	done
	IFS=$DEF
	for d in /srv /opt /var/www /home /root; do
		[ ! -d "$d" ] || roots="$roots $d"
	done
	if [ -n "$roots" ] && have find; then
		found=$($TIMEOUT find $roots -xdev -maxdepth 4 -type d -name .git 2>/dev/null)
		[ "$?" != 124 ] || printf 'cut\t5 seconds\n'
		n_repositories=0
		IFS=$NL
		for d in $found; do
			IFS=$DEF
			n_repositories=$((n_repositories + 1))
			if [ "$n_repositories" -gt 100 ]; then
				printf 'cut\t100 repositories\n'
				break
			fi
			[ ! -r "$d/config" ] || git_remotes "$d/config"
		done
		IFS=$DEF
	fi
	if [ -n "$TRACED" ] && have stat; then
		IFS=$NL
		set -- $TRACED
		IFS=$DEF
		s=$(stat -c '%Y %n' "$@" 2>/dev/null)
		printf 'times\n'
		content "$s"
	fi
	printf 'end\ttraces\n'
}
