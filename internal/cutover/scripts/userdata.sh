#!/bin/sh
# Part of the scripts for hosts: the first boot of an instance, as user data.
# shellcheck disable=SC2034,SC2086,SC2154,SC2317

# first_key lets the recovery key into its account, once.
first_key() {
	if [ -n "$ACCOUNTS" ]; then
		entry=$(grep "^$KEY_USER:" "$ACCOUNTS")
	else
		entry=$(getent passwd "$KEY_USER")
	fi
	home=${entry%:*}
	home=${home##*:}
	if [ -z "$entry" ] || [ ! -d "$home" ]; then
		printf '%s\n' "migrate: there is no account $KEY_USER with a home for the recovery key" >&2
		return
	fi
	[ -d "$home/.ssh" ] || mkdir -m 700 "$home/.ssh"
	keys=$home/.ssh/authorized_keys
	if [ -s "$keys" ] && [ -n "$(tail -c 1 "$keys")" ]; then echo >>"$keys"; fi
	grep -qxF "$KEY_LINE" "$keys" 2>/dev/null || printf '%s\n' "$KEY_LINE" >>"$keys"
	chmod 600 "$keys"
	chown "$KEY_USER:" "$home/.ssh" "$keys"
	if have restorecon; then restorecon -R "$home/.ssh" >/dev/null 2>&1; fi
}

# first_agent brings the agent that is wanted, where the image has none, or an
# older one.
first_agent() {
	folder
	find_agent
	if [ -n "$form" ] && [ -n "$version" ] && ! { [ -n "$FLOOR" ] && older "$version" "$FLOOR"; }; then ACTION=enable; fi
	work
}
