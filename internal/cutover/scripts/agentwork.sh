#!/bin/sh
# Part of the scripts for hosts: the work on the SSM Agent, in a process of its own.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

result() {
	printf '%s.%s\n' "$JOB" "$*" | put agent-result
}

# clean removes everything that the work brought here but its result.
clean() { rm -rf "$DIR/agent-package" "$DIR/agent-work"; }

stop_with() {
	clean
	result failed "$1"
	exit 1
}

# fetch URL FILE gets a file of up to 256 MB; no redirection leads out of HTTPS.
fetch() {
	if have curl; then
		curl -fsSL --proto =https --proto-redir =https --max-filesize 268435456 --connect-timeout 10 --max-time 300 -o "$2" "$1"
	elif have wget; then
		wget -q -T 30 -O "$2" "$1"
	else
		return 127
	fi
}

# get FILE is fetch for the package's source, or the end.
get() {
	fetch "$URL$2" "$1" 2>/dev/null && [ -s "$1" ] && return 0
	case $? in
	127) stop_with "neither curl nor wget, which fetch the package, is installed here" ;;
	23) stop_with "there is no space in $DIR for $URL$2" ;;
	esac
	stop_with "cannot fetch $URL$2"
}

# genuine FILE SIGNATURE checks the package with the key that came with this
# script, if that is the key with the fingerprint that AWS publishes. A signature
# by a key that has expired since does not count.
genuine() {
	ring=$DIR/agent-package/ring
	mkdir -m 700 "$ring" || return 1
	have base64 || stop_with "base64, which unpacks the signer's key, is not installed here"
	# Nothing is imported: gpg would start an agent of its own for that.
	printf '%s\n' "$SIGNING_KEY" | unarmored | base64 -d >"$ring/key.gpg" || return 1
	if have gpgv; then
		gpgv --homedir "$ring" --keyring "$ring/key.gpg" --status-fd 1 "$2" "$1" 2>/dev/null >"$ring/status" || return 1
	elif have gpg; then
		gpg --homedir "$ring" --batch --no-default-keyring --keyring "$ring/key.gpg" --trust-model always --status-fd 1 --verify "$2" "$1" 2>/dev/null >"$ring/status" || return 1
	else
		stop_with "neither gpgv nor gpg, which check the package's signature, is installed here"
	fi
	good='' valid=''
	while read -r _ what signer _; do
		case $what in
		GOODSIG) good=yes ;;
		VALIDSIG) if [ "$signer" = "$SIGNER" ]; then valid=yes; fi ;;
		esac
	done <"$ring/status"
	[ "$good$valid" = yesyes ]
}

# unarmored takes the frame of an ASCII-armored key away: what is left is base64.
unarmored() {
	part=frame
	while read -r line; do
		case $part$line in
		'frame') part=body ;;
		body=* | body-*) part=over ;;
		body*) printf '%s\n' "$line" ;;
		esac
	done
}

# package gets and checks the package, whose path it sets. Until it returns,
# nothing of the host but our folder has changed.
package() {
	rm -rf "$DIR/agent-package"
	mkdir -p "$DIR/agent-package" || stop_with "cannot write in $DIR"
	package=$DIR/agent-package/amazon-ssm-agent.$PACKAGE
	get "$package" ''
	get "$package.sig" .sig
	genuine "$package" "$package.sig" || stop_with "the signature of $URL is not AWS's"
	fits
}

# fits checks what a genuine package may still be: one for other machines, an old
# one, or more than there is room for.
fits() {
	name='' offered='' arch='' size=''
	case $PACKAGE in
	deb)
		dpkg-deb -f "$package" Package Version Architecture Installed-Size >"$package.about" 2>/dev/null
		while read -r k v; do
			case $k in
			Package:) name=$v ;;
			Version:) offered=${v%%-*} ;;
			Architecture:) arch=$v ;;
			Installed-Size:) size=$v ;;
			esac
		done <"$package.about"
		;;
	rpm)
		rpm -qp --queryformat '%{NAME} %{VERSION} %{ARCH} %{SIZE}\n' "$package" >"$package.about" 2>/dev/null
		read -r name offered arch size <"$package.about"
		case $size in '' | *[!0-9]*) size='' ;; *) size=$((size / 1024)) ;; esac
		;;
	esac
	[ "$name" = amazon-ssm-agent ] || stop_with "$URL is no package amazon-ssm-agent of the form $PACKAGE"
	machine=$(uname -m)
	case $arch/$machine in
	amd64/x86_64 | arm64/aarch64) ;;
	*) [ "$arch" = "$machine" ] || stop_with "the package is for $arch, and this machine is $machine" ;;
	esac
	new_enough "$URL"
	case $size in '' | *[!0-9]*) stop_with "the package does not tell its size" ;; esac
	room=''
	df -Pk "$ROOT/usr/bin" >"$package.about" 2>/dev/null
	while read -r _ _ _ free _; do room=$free; done <"$package.about"
	case $room in '' | *[!0-9]*) stop_with "df does not tell the space in /usr/bin" ;; esac
	# An upgrade has both versions on the disk for a while.
	[ "$room" -gt $((size + size / 4)) ] || stop_with "there is no space in /usr/bin: the package needs $size kB, and $room kB are free"
}

# new_enough SOURCE compares the version that a source offers with the one that
# is wanted and the one that is here.
new_enough() {
	case $offered in '' | *[!0-9.]*) stop_with "$1 does not tell its version" ;; esac
	if [ -n "$FLOOR" ] && older "$offered" "$FLOOR"; then stop_with "$1 has version $offered, which is below $FLOOR"; fi
	if [ -n "$version" ] && older "$offered" "$version"; then stop_with "$1 has version $offered, and here is $version already"; fi
}

# older A B holds if version A comes before version B.
older() {
	left=$1. right=$2.
	while [ -n "$left$right" ]; do
		l=${left%%.*} r=${right%%.*} left=${left#*.} right=${right#*.}
		if [ "${l:-0}" -lt "${r:-0}" ]; then return 0; fi
		if [ "${l:-0}" -gt "${r:-0}" ]; then return 1; fi
	done
	return 1
}

# snap_offers looks up what the store has: its signature is snapd's to check.
snap_offers() {
	offered=''
	snap info amazon-ssm-agent >"$DIR/agent-info" 2>/dev/null
	while read -r k v _; do
		if [ "$k" = latest/stable: ]; then offered=$v; fi
	done <"$DIR/agent-info"
	rm -f "$DIR/agent-info"
	[ -n "$offered" ] || stop_with "snap's store, or its proxy, does not tell of the agent"
	new_enough "the snap store's latest/stable"
}

install_agent() {
	was=$form
	case $PACKAGE in
	snap)
		have snap || stop_with "snap, which the agent comes by, is not installed here"
		snap_offers
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
		[ "$form" != snap ] || stop_with "the agent is installed as a snap; a second one as rpm would stop both"
		package
		# rpm needs no repositories, to which the host may have no way.
		said=$(rpm -U --replacepkgs "$package" 2>&1) || by_manager
		;;
	*) stop_with "there is no way to install a package of the form $PACKAGE" ;;
	esac || undone "${said##*"$NL"}"
	rm -rf "$DIR/agent-package"
	find_agent
}

# by_manager is for a package that wants others.
by_manager() {
	for manager in dnf yum zypper; do
		have "$manager" || continue
		said=$("$manager" install -y "$package" 2>&1)
		return
	done
	return 1
}

# undone WHY ends an installation that broke off: of a package that was not here
# before, nothing stays.
undone() {
	if [ -z "$was" ]; then
		case $PACKAGE in
		deb) dpkg -P amazon-ssm-agent >/dev/null 2>&1 ;;
		rpm) rpm -e amazon-ssm-agent >/dev/null 2>&1 ;;
		esac
	fi
	stop_with "$1"
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
	trap 'stop_with "the work was ended from outside"' HUP INT TERM
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
	clean
	result 'done'
}
