#!/bin/sh
# Part of the scripts for hosts: the work on the SSM Agent, in a process of its own.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

result() {
	printf '%s.%s\n' "$JOB" "$*" | put agent-result
}

stop_with() {
	rm -rf "$DIR/agent-package"
	result failed "$1"
	exit 1
}

fetch() {
	if have curl; then
		curl -fsSL --connect-timeout 10 --max-time 300 -o "$2" "$1"
	elif have wget; then
		wget -q -T 30 -O "$2" "$1"
	else
		return 1
	fi
}

# genuine FILE SIGNATURE checks the package with the key that came with this
# script, if that is the key with the fingerprint that AWS publishes.
genuine() {
	have gpg || stop_with "gpg, which checks the package's signature, is not installed here"
	ring=$DIR/agent-package/ring
	mkdir -m 700 "$ring" || return 1
	printf '%s\n' "$SIGNING_KEY" | gpg --homedir "$ring" --batch --quiet --import 2>/dev/null || return 1
	gpg --homedir "$ring" --batch --status-fd 1 --verify "$2" "$1" 2>/dev/null >"$ring/status"
	while read -r _ what signer _; do
		if [ "$what" = VALIDSIG ] && [ "$signer" = "$SIGNER" ]; then return 0; fi
	done <"$ring/status"
	return 1
}

# package gets and checks the package, whose path it sets.
package() {
	mkdir -p "$DIR/agent-package" || stop_with "cannot write in $DIR"
	package=$DIR/agent-package/amazon-ssm-agent.$PACKAGE
	fetch "$URL" "$package" || stop_with "cannot fetch $URL"
	fetch "$URL.sig" "$package.sig" || stop_with "cannot fetch $URL.sig"
	genuine "$package" "$package.sig" || stop_with "the signature of $URL is not AWS's"
}

install_agent() {
	case $PACKAGE in
	snap)
		if [ "$form" = snap ]; then
			said=$(snap refresh amazon-ssm-agent 2>&1)
		else
			said=$(snap install amazon-ssm-agent --classic 2>&1)
		fi
		;;
	deb)
		[ "$form" != snap ] || stop_with "the agent is installed as a snap; a second one as deb would stop both"
		package
		said=$(dpkg -i "$package" 2>&1)
		;;
	rpm)
		package
		if have dnf; then
			said=$(dnf install -y "$package" 2>&1)
		elif have yum; then
			said=$(yum install -y "$package" 2>&1)
		else
			said=$(rpm -U --replacepkgs "$package" 2>&1)
		fi
		;;
	*) stop_with "there is no way to install a package of the form $PACKAGE" ;;
	esac || stop_with "${said##*"$NL"}"
	rm -rf "$DIR/agent-package"
	find_agent
}

# enable_agent lets the agent start at boot.
enable_agent() {
	case $masked in
	yes) systemctl unmask "$unit" >/dev/null 2>&1 ;;
	runtime) systemctl unmask --runtime "$unit" >/dev/null 2>&1 ;;
	esac
	if [ "$form" = snap ]; then
		snap start --enable amazon-ssm-agent >/dev/null 2>&1
	fi
	systemctl enable "$unit" >/dev/null 2>&1
}

start_agent() {
	enable_agent
	systemctl restart "$unit" 2>/dev/null || stop_with "systemctl restart $unit fails"
}

# back_to RUNNING ENABLED MASKED is the undo of enable.
back_to() {
	[ "$2" != no ] || systemctl disable "$unit" >/dev/null 2>&1
	[ "$1" != no ] || systemctl stop "$unit" >/dev/null 2>&1
	case $3 in
	yes) systemctl mask "$unit" >/dev/null 2>&1 ;;
	runtime) systemctl mask --runtime "$unit" >/dev/null 2>&1 ;;
	esac
}

remove_agent() {
	case $form in
	snap) said=$(snap remove amazon-ssm-agent 2>&1) ;;
	deb) said=$(dpkg -r amazon-ssm-agent 2>&1) ;;
	rpm) said=$(rpm -e amazon-ssm-agent 2>&1) ;;
	esac || stop_with "${said##*"$NL"}"
}

work() {
	# Whoever asked for this must get the answer before the agent goes away.
	sleep 3
	find_agent
	case $ACTION in
	install | upgrade)
		install_agent
		start_agent
		;;
	restart) systemctl restart "$unit" 2>/dev/null || stop_with "systemctl restart $unit fails" ;;
	enable)
		[ -n "$form" ] || stop_with "there is no agent to enable"
		# Who is in a session of an agent that runs keeps it.
		if [ "$running" = yes ]; then enable_agent; else start_agent; fi
		;;
	remove) remove_agent ;;
	back) back_to "$WAS_RUNNING" "$WAS_ENABLED" "$WAS_MASKED" ;;
	esac
	result 'done'
}
