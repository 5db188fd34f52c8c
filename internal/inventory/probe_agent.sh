#!/bin/sh
# Part of the probe: the SSM Agent, its settings and what it says of itself.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# setting NAME=VALUE takes a proxy, or another source of credentials, from the
# environment of the agent's unit. A proxy's password is not printed.
setting() {
	v=${1#*=}
	case $v in
	\"*\" | \'*\')
		v=${v#?}
		v=${v%?}
		;;
	esac
	case $1 in
	https_proxy=* | HTTPS_PROXY=*) PROXY=$v name=https_proxy ;;
	http_proxy=* | HTTP_PROXY=*) PLAIN_PROXY=$v name=http_proxy ;;
	no_proxy=* | NO_PROXY=*) NO_PROXY_FOR=$v name=no_proxy ;;
	AWS_SHARED_CREDENTIALS_FILE=*)
		SHARED=$v
		return
		;;
	AWS_ACCESS_KEY_ID=*)
		printf 'credentials\tAWS_ACCESS_KEY_ID in the environment of the unit\n'
		return
		;;
	*) return ;;
	esac
	without_password "$v"
	first_line "$v"
	printf 'proxy\t%s\t%s\n' "$name" "$text"
}

# settings WORDS takes the assignments of an Environment line, some in quotes.
settings() {
	quoted=
	for w in $1; do
		case $quoted$w in
		[\"\']*[\"\'])
			w=$quoted$w
			w=${w#?}
			setting "${w%?}"
			quoted=
			;;
		[\"\']*) quoted="$quoted$w " ;;
		*) setting "$w" ;;
		esac
	done
}

# settings_file FILE takes the assignments of an environment file, a systemd
# drop-in or an upstart override.
settings_file() {
	if [ ! -r "$1" ]; then
		[ ! -e "$1" ] || printf 'unread\t%s\n' "$1"
		return 0
	fi
	while IFS=$DEF read -r l || [ -n "$l" ]; do
		case $l in
		Environment=*) settings "${l#Environment=}" ;;
		"env "*) settings "${l#env }" ;;
		*=*) settings "$l" ;;
		esac
	done <"$1"
}

# agent_unit BLOCK prints what systemctl shows of one unit, and takes the
# environment from it: the agent's way out is the one to test.
agent_unit() {
	printf 'unit\n'
	words='' files=''
	IFS=$NL
	for l in $1; do
		case $l in
		Environment=*) words=${l#Environment=} ;;
		EnvironmentFiles=*) files="$files$NL${l#EnvironmentFiles=}" ;;
		*) printf '|%s\n' "$l" ;;
		esac
	done
	IFS=$DEF
	settings "$words"
	IFS=$NL
	for f in $files; do
		IFS=$DEF
		settings_file "${f%% (*}"
	done
	IFS=$DEF
}

# agent_service tells of the units, and of their files where systemd is silent.
agent_service() {
	code=none
	if have systemctl; then
		s=$($TIMEOUT systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState -p Environment -p EnvironmentFiles \
			amazon-ssm-agent.service snap.amazon-ssm-agent.amazon-ssm-agent.service 2>&1)
		code=$?
		if [ "$code" = 0 ]; then
			agent_unit "${s%%"$NL$NL"*}"
			case $s in *"$NL$NL"*) agent_unit "${s#*"$NL$NL"}" ;; esac
			return
		fi
		first_line "$s"
		printf 'unitless\t%s\n' "$text"
	else
		printf 'process\t%s\n' "$AGENT_RUNS"
	fi
	set +f
	for f in /etc/systemd/system/amazon-ssm-agent.service.d/*.conf /etc/systemd/system/snap.amazon-ssm-agent.amazon-ssm-agent.service.d/*.conf \
		/etc/init/amazon-ssm-agent.override; do
		set -f
		settings_file "$f"
	done
	set -f
}

# agent_packages asks every package manager: two installations stop one another.
agent_packages() {
	if [ -e /var/lib/dpkg/info/amazon-ssm-agent.list ] && have dpkg-query; then
		a=$(dpkg-query -W -f '${Status} ${Version}\n' amazon-ssm-agent 2>/dev/null)
		first_line "$a"
		case $text in *" installed "*) printf 'install\tdeb\t%s\n' "${text##* }" ;; esac
	fi
	if have rpm; then
		a=$($TIMEOUT rpm -q amazon-ssm-agent 2>/dev/null) && first_line "$a" && printf 'install\trpm\t%s\n' "${text#amazon-ssm-agent-}"
	fi
	if [ -e /snap/amazon-ssm-agent/current ]; then
		v=
		while read -r k v; do
			[ "$k" != version: ] || break
			v=
		done 2>/dev/null </snap/amazon-ssm-agent/current/meta/snap.yaml
		printf 'install\tsnap\t%s\n' "$v"
	fi
}

# agent_config prints the agent's settings and takes from them where it connects.
agent_config() {
	SSM_HOST='' MGS_HOST='' MDS_HOST='' S3_HOST='' KMS_HOST='' DUAL=''
	f=/etc/amazon/ssm/amazon-ssm-agent.json
	[ -e "$f" ] || return 0
	if [ ! -r "$f" ]; then
		printf 'config\tunreadable\t%s\n' "$f"
		return
	fi
	printf 'config\tread\t%s\n' "$f"
	n=0 part=
	while [ "$n" -lt 2000 ] && { IFS= read -r l || [ -n "$l" ]; }; do
		n=$((n + 1))
		printf '|%s\n' "$l"
		case $l in
		*'"Ssm"'*) part=ssm ;;
		*'"Mgs"'*) part=mgs ;;
		*'"Mds"'*) part=mds ;;
		*'"S3"'*) part=s3 ;;
		*'"Kms"'*) part=kms ;;
		*'":'*'{'*) part= ;;
		esac
		case $l in
		*'"UseDualStackEndpoint"'*true*) DUAL=yes ;;
		*'"Endpoint"'*:*'"'*'"'*)
			v=${l#*'"Endpoint"'}
			v=${v#*'"'}
			v=${v%%'"'*}
			v=${v#*://}
			v=${v%%/*}
			case $part$v in
			*[!a-zA-Z0-9.-]*) ;;
			ssm*) SSM_HOST=$v ;;
			mgs*) MGS_HOST=$v ;;
			mds*) MDS_HOST=$v ;;
			s3*) S3_HOST=$v ;;
			kms*) KMS_HOST=$v ;;
			esac
			;;
		esac
	done <"$f"
}

# json_string NAME sets v to a string of the JSON text in j; empty for none.
json_string() {
	v=
	case $j in
	*"\"$1\""*)
		v=${j#*"\"$1\""}
		v=${v#*\"}
		v=${v%%\"*}
		;;
	esac
	case $v in *[!A-Za-z0-9-]*) v= ;; esac
}

# agent_registration looks for a hybrid activation in the agent's vault. The
# private key next to it is not printed.
agent_registration() {
	f=/var/lib/amazon/ssm/Vault/Store/RegistrationKey
	if [ "$uid" != 0 ]; then
		printf 'registration\tdenied\n'
		return
	fi
	j='' id='' v=''
	if [ -r "$f" ]; then
		while IFS= read -r l || [ -n "$l" ]; do j=$j$l; done <"$f"
		json_string instanceID
		case $v in mi-*) id=$v ;; esac
		json_string region
	fi
	printf 'registration\tread\t%s\t%s\n' "$id" "$v"
}

# agent_credentials names the files of credentials that go before a role's. What
# they hold is not read.
agent_credentials() {
	if [ "$uid" != 0 ]; then
		printf 'shared\tdenied\n'
		return
	fi
	printf 'shared\tchecked\n'
	[ ! -s /root/.aws/credentials ] || printf 'credentials\t/root/.aws/credentials\n'
	first_line "$SHARED"
	if [ -n "$text" ] && [ "$text" != /root/.aws/credentials ] && [ -s "$text" ]; then printf 'credentials\t%s\n' "$text"; fi
}

# agent_log FILE prints those of a log's last lines that tell of the agent's state.
agent_log() {
	[ -s "$1" ] || return 0
	printf 'log\t%s\n' "$1"
	tail -c 32768 "$1" | {
		n=0
		while IFS= read -r l; do
			case $l in
			*leeping\ for* | *ibernat* | *AccessDenied* | *x509* | *" space left "* | *"too many open files"* | *notify* | *proxyconnect* | *"roxy Auth"* | \
				*"Credentials ready"* | *"control channel"* | *"RequestError"* | *"NoCredentialProviders"* | \
				*"InvalidSignature"* | *"SignatureDoesNotMatch"* | *"RequestExpired"* | *"permission denied"* | *"ead-only file system"*)
				n=$((n + 1))
				without_addresses "$l"
				[ "$n" -gt 300 ] || printf '|%s\n' "$text"
				;;
			esac
		done
	}
}

agent_signs() {
	if [ "$uid" != 0 ]; then
		printf 'signs\tdenied\n'
		return
	fi
	printf 'signs\tread\n'
	agent_log /var/log/amazon/ssm/errors.log
	agent_log /var/log/amazon/ssm/amazon-ssm-agent.log
}

# ssm_user tells what ssm-user may do; that there is such a user stands in p_users.
ssm_user() {
	if [ -e /etc/sudoers.d/ssm-agent-users ]; then printf 'sudoers\n'; fi
	case $NL$LIST in *"$NL"ssm-user:*) ;; *) return 0 ;; esac
	if [ "$uid" != 0 ]; then
		printf 'sudo\tdenied\n'
	elif have sudo; then
		s=$($TIMEOUT sudo -n -l -U ssm-user 2>&1)
		printf 'sudo\t%s\n' "$?"
		content "$s"
	else
		printf 'sudo\tnone\n'
	fi
}

p_agent() {
	printf 'begin\tagent\n'
	PROXY='' PLAIN_PROXY='' NO_PROXY_FOR='' SHARED='' agent='' CLI=''
	for f in /usr/bin/amazon-ssm-agent /usr/sbin/amazon-ssm-agent /usr/local/bin/amazon-ssm-agent \
		/snap/amazon-ssm-agent/current/amazon-ssm-agent; do
		[ -x "$f" ] || continue
		agent=$f
		a=$($TIMEOUT "$f" -version 2>&1)
		first_line "$a"
		printf 'binary\t%s\t%s\n' "$f" "$text"
		if [ -x "${f%/*}/ssm-cli" ]; then CLI=${f%/*}/ssm-cli; fi
	done
	agent_packages
	ssm_user
	if [ -n "$agent" ]; then
		agent_service
		agent_registration
		agent_credentials
		agent_signs
	fi
	agent_config
	printf 'end\tagent\n'
}
