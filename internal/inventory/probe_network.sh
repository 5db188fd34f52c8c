#!/bin/sh
# Part of the probe: the way out, tested.
# shellcheck disable=SC2086,SC2154,SC2034,SC3043

# lookup sets dns to how the name service answered for h, and ips to its answer.
lookup() {
	dns=none ips=
	have getent || return 0
	a=$($TIMEOUT getent ahosts "$h" 2>/dev/null)
	dns=$?
	IFS=$NL
	for l in $a; do
		ip=${l%%[ "$T"]*}
		case " $ips " in *" $ip "*) ;; *) ips="$ips $ip" ;; esac
	done
	IFS=$DEF
	ips=${ips# }
}

# by_curl tests h with curl. The login's own proxy settings and curlrc are left
# out of it: only the agent's proxy counts.
by_curl() {
	o=$(https_proxy=$PROXY no_proxy=$NO_PROXY_FOR curl -q -sSv -m 5 -o /dev/null \
		-w "${NL}facts %{time_connect} %{time_appconnect} %{ssl_verify_result} %{http_code} %{remote_ip}${NL}" \
		"https://$h/" 2>&1)
	code=$?
	IFS=$NL
	for l in $o; do
		case $l in
		"< "[Dd]ate:*) answered=${l#*: } ;;
		esac
	done
	IFS=$DEF
	# Without an answer of the endpoint's, the date is that of a proxy.
	[ "$code" = 0 ] || answered=
	if [ "$code" = 60 ]; then
		# curl does not name the issuer of a chain that it refuses.
		o=$o$NL$(https_proxy=$PROXY no_proxy=$NO_PROXY_FOR curl -q -kv -s -m 3 -o /dev/null "https://$h/" 2>&1)
	fi
	IFS=$NL
	for l in $o; do
		case $l in
		"facts "*) facts=${l#facts } ;;
		"curl: "*) detail=$l ;;
		"*"*" issuer: "*) issuer=${l#*issuer: } ;;
		esac
	done
	IFS=$DEF
}

by_openssl() {
	o=$($TIMEOUT openssl s_client -connect "$h:443" -servername "$h" </dev/null 2>&1)
	code=$?
	IFS=$NL
	for l in $o; do
		case $l in
		CONNECTED*) facts=connected ;;
		issuer=*) issuer=${l#issuer=} ;;
		*"Verify return code: "*) facts="connected ${l##*code: }" ;;
		*errno* | *:error:*) [ -n "$detail" ] || detail=$l ;;
		esac
	done
	IFS=$DEF
}

# endpoint_host SERVICE sets h to the host name that the agent uses.
endpoint_host() {
	h=
	case $1 in
	ssm) h=$SSM_HOST ;;
	ssmmessages) h=$MGS_HOST ;;
	ec2messages) h=$MDS_HOST ;;
	s3) h=$S3_HOST ;;
	kms) h=$KMS_HOST ;;
	esac
	[ -z "$h" ] || return 0
	case $DUAL$1 in
	yess3) h=s3.dualstack.$REGION.$SUFFIX ;;
	yes*) h=$1.$REGION.$DUAL_SUFFIX ;;
	*) h=$1.$REGION.$SUFFIX ;;
	esac
}

# endpoint SERVICE tests one endpoint and prints one line in one write. The first
# service's answer also tells the time.
endpoint() {
	endpoint_host "$1"
	tool='' code='' facts='' issuer='' detail='' via='' answered='' clock=''
	lookup
	if [ -n "$PROXY" ]; then via=proxy; fi
	case $dns$via in
	0* | none* | *proxy)
		if have curl; then
			tool=curl
			by_curl
		elif [ -n "$PROXY" ]; then
			tool=proxy
		elif [ -n "$TIMEOUT" ] && have openssl; then
			tool=openssl
			by_openssl
		elif [ -n "$TIMEOUT" ] && have bash; then
			tool=bash
			# shellcheck disable=SC2016
			detail=$($TIMEOUT bash -c ': </dev/tcp/$0/443' "$h" 2>&1)
			code=$?
		elif have nc; then
			tool=nc
			detail=$(nc -z -w 5 "$h" 443 2>&1 </dev/null)
			code=$?
		fi
		;;
	esac
	if [ "$1" = ssm ] && [ -n "$answered" ]; then
		first_line "${answered%"$CR"}"
		clock="clock$T$h$T$(date +%s)$T$text$NL"
	fi
	first_line "$issuer"
	issuer=$text
	without_addresses "$detail"
	first_line "$text"
	printf '%sendpoint\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' \
		"$clock" "$1" "$h" "$dns" "$ips" "$tool" "$code" "$facts" "$via" "$issuer" "$text"
}

# answer TEXT reads what curl printed of one answer: status, server, date and the
# first line of the body.
answer() {
	status='' server='' dated='' body='' detail=''
	IFS=$NL
	for l in $1; do
		l=${l%"$CR"}
		case $l in
		"facts "*) status=${l#facts } ;;
		"curl: "*) detail=$l ;;
		HTTP/*) body='' ;;
		[Ss]erver:*) server=${l#*: } ;;
		[Dd]ate:*) dated=${l#*: } ;;
		[A-Za-z]*:\ * | '') ;;
		*) [ -n "$body" ] || body=$l ;;
		esac
	done
	IFS=$DEF
}

# ask_metadata PATH... asks the metadata service as the agent does: by the agent's
# proxy, where there is one.
ask_metadata() {
	http_proxy=$PLAIN_PROXY no_proxy=$NO_PROXY_FOR curl -q -sS -m 3 -D - -w "${NL}facts %{http_code}${NL}" "$@" 2>&1
}

# metadata_answer TAG TEXT adds to asked what came of one question.
metadata_answer() {
	answer "$2"
	[ "$status" = 200 ] || body=
	case $body in *[!A-Za-z0-9_+=,.@-]*) body= ;; esac
	first_line "$server"
	asked="$asked$1$T$status$T$text$T"
	without_addresses "$detail"
	first_line "$text"
	asked="$asked$text$T$body$NL"
}

# metadata prints how the metadata service answers, but neither token nor
# credentials: what it lists under the credentials' path is the role's name.
metadata() {
	if ! have curl; then
		printf 'metadata\tnone\n'
		return
	fi
	base=http://169.254.169.254/latest
	answer "$(ask_metadata -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$base/api/token")"
	tokens=no token=''
	if [ "$status" = 200 ]; then
		case $body in
		'' | *[!A-Za-z0-9_=-]*) ;;
		*)
			tokens=yes
			token="X-aws-ec2-metadata-token: $body"
			;;
		esac
	fi
	first_line "$dated"
	clock=
	[ -z "$text" ] || clock="clock${T}169.254.169.254$T$(date +%s)$T$text$NL"
	first_line "$server"
	asked="token$T$status$T$text"
	without_addresses "$detail"
	first_line "$text"
	asked="$asked$T$text$NL"
	o=$(ask_metadata -H "$token" "$base/meta-data/iam/security-credentials/" "$base/meta-data/placement/region")
	rest=${o#*"${NL}facts "}
	metadata_answer role "${o%%"${NL}facts "*}${NL}facts ${rest%%"$NL"*}"
	metadata_answer region "${rest#*"$NL"}"
	printf '%smetadata\t%s\n%s' "$clock" "$tokens" "$asked"
}

# diagnose runs the agent's own checks.
diagnose() {
	o=$($LONG "$CLI" get-diagnostics --output json 2>&1)
	code=$?
	[ ${#o} -le 65536 ] || o=
	printf '%s\ncode %s\n' "$o" "$code"
}

network_tests() {
	if [ -n "$REGION" ]; then
		for s in ssm ssmmessages ec2messages s3 kms logs; do endpoint "$s" & done
	fi
	metadata &
	wait
}

# p_network tests everything side by side, so that what times out costs its time
# once. What the agent's checks say waits in a pipe until the section is over.
p_network() {
	printf 'begin\tendpoints\n'
	if [ "$uid" = 0 ] && [ -n "$CLI" ] && [ -n "$LONG" ]; then
		diagnose | {
			network_tests
			printf 'end\tendpoints\nbegin\tdiagnostics\nsaid\n'
			while read -r l; do printf '|%s\n' "$l"; done
			printf 'end\tdiagnostics\n'
		}
	else
		network_tests
		printf 'end\tendpoints\nbegin\tdiagnostics\n'
		if [ "$uid" != 0 ]; then
			printf 'denied\n'
		elif [ -n "$CLI" ]; then
			printf 'unbounded\n'
		fi
		printf 'end\tdiagnostics\n'
	fi
}
