#!/bin/sh
# Part of the probe: what breaks agents and sessions on a host.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# distinct TEXT prints every line of TEXT once, as content.
distinct() {
	seen=$NL
	IFS=$NL
	for l in $1; do
		case $seen in
		*"$NL$l$NL"*) ;;
		*)
			printf '|%s\n' "$l"
			seen=$seen$l$NL
			;;
		esac
	done
	IFS=$DEF
}

# filesystems shows those that hold what the agent and sessions write to.
filesystems() {
	set --
	for d in / /var /var/lib/amazon /var/log /tmp /home; do
		[ ! -d "$d" ] || set -- "$@" "$d"
	done
	if have df; then
		s=$($TIMEOUT df -P -k "$@" 2>/dev/null)
		printf 'space\t%s\n' "$?"
		distinct "$s"
		s=$($TIMEOUT df -P -i "$@" 2>/dev/null)
		printf 'inodes\n'
		distinct "$s"
	fi
	printf 'mounts\n'
	while read -r _ where kind options _; do
		case $where in
		/ | /var | /var/lib | /var/lib/amazon | /var/log | /tmp | /home) printf '|%s %s %s\n' "$where" "$kind" "$options" ;;
		esac
	done 2>/dev/null </proc/self/mounts
}

# inotify tells the limits and, to root, how many descriptors of root's processes
# are inotify instances.
inotify() {
	# The kernel gives a setting in one read, of which dash would take one byte.
	v=$(cat /proc/sys/fs/inotify/max_user_instances /proc/sys/fs/inotify/max_user_watches 2>/dev/null)
	set -- $v
	used=
	if [ "$uid" = 0 ] && have grep; then
		set +f
		used=$($TIMEOUT ls -ln /proc/[0-9]*/fd 2>/dev/null | grep -c '^l[^ ]* *[0-9]* *0 .*-> anon_inode:\[*inotify')
		set -f
	fi
	printf 'inotify\t%s\t%s\t%s\n' "$1" "$2" "$used"
}

# trust_store looks for Amazon Root CA 1 where Go's crypto/x509 does: in the first
# bundle that there is, and in the folders.
trust_store() {
	line=MIIDQTCCAimgAwIBAgITBmyfz5m/jAo54vB4ikPmljZbyjANBgkqhkiG9w0BAQsF
	if ! have grep; then
		printf 'roots\tunread\tno grep on the host\n'
		return
	fi
	bundle=
	for f in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/pki/tls/cacert.pem \
		/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem /etc/ssl/cert.pem; do
		if [ -f "$f" ]; then
			bundle=$f
			break
		fi
	done
	set +f
	set -- /etc/ssl/certs/Amazon_Root_CA_1*.pem
	set -f
	[ -f "$1" ] || set --
	if [ -z "$bundle$*" ]; then
		printf 'roots\tno\tno bundle of certificates\n'
	elif grep -qF "$line" ${bundle:+"$bundle"} "$@" 2>/dev/null; then
		printf 'roots\tyes\t%s\n' "$bundle"
	elif [ -n "$bundle" ] && [ ! -r "$bundle" ]; then
		printf 'roots\tunread\t%s: permission denied\n' "$bundle"
	else
		printf 'roots\tno\t%s\n' "$bundle"
	fi
}

p_health() {
	printf 'begin\thealth\n'
	filesystems
	inotify
	trust_store
	printf 'end\thealth\n'
}
