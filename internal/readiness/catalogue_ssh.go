package readiness

import "ssm-migrate/internal/fleet"

func sshEntries() []Entry {
	return []Entry{{
		Code: "ssh-not-scanned", Area: "ssh", Severity: fleet.SeverityRisk,
		Title:    "The host's SSH side is not known",
		Means:    "Which keys open the host and who uses them is not known. Session Manager may work all the same; closing SSH on this host would be blind.",
		Detected: "The probe gave no answer. The evidence says why.",
		Fix:      "give the inventory a login on the host, directly or through a bastion, and take it again",
		Undo:     "remove the login",
		Sources:  []string{"OpenSSH, ssh(1)"},
	}, {
		Code: "ssh-partly-scanned", Area: "ssh", Severity: fleet.SeverityRisk,
		Title:    "Parts of the host could not be read",
		Means:    "Keys, settings or logins may exist that no finding speaks of.",
		Detected: "The probe ran, but could not read what the evidence lists; most often for want of sudo.",
		Fix:      "let the login user run the probe with sudo -n and take the inventory again; a log that the host does not keep can only be kept from now on",
		Undo:     "remove the sudo rule",
		Sources:  []string{"OpenSSH, sshd(8), -T"},
	}, {
		Code: "key-shared", Area: "ssh", Severity: fleet.SeverityRisk,
		Title:    "One key opens several hosts or users",
		Means:    "Whoever has the private key has all of it, and the log cannot tell people apart who share it.",
		Detected: "The same fingerprint in the authorized keys of several hosts (from 2 on, by policy) or users. One finding for each key; certificate authorities are left out.",
		Fix:      "find the key's owners before the move: each needs an IAM identity of their own",
		Undo:     "nothing to take back",
		Sources:  []string{"OpenSSH, sshd(8), AUTHORIZED_KEYS FILE FORMAT", "NIST IR 7966"},
	}, {
		Code: "key-weak", Area: "ssh", Severity: fleet.SeverityRisk,
		Title:    "The key is weak",
		Means:    "A DSA key, or an RSA key with fewer bits than the policy wants (2048 by default).",
		Detected: "Key type and modulus size in the authorized keys. One finding for each key; a size that is not known is not held against it.",
		Fix:      "remove the key with the move; if it must live on, replace it by Ed25519",
		Undo:     "put the line back from the saved key file",
		Sources:  []string{"NIST SP 800-131A", "OpenSSH 7.0 release notes"},
	}, {
		Code: "key-with-options", Area: "ssh", Severity: fleet.SeverityRisk,
		Title:    "The key's options will not work the same",
		Means:    "SSH through Session Manager reaches sshd from the loopback address, so from= refuses it; a Session Manager shell knows nothing of command=, which often marks a script that depends on this key.",
		Detected: "from= or command= in the authorized keys. One finding for each key.",
		Fix:      "find who runs the script; give it a Session document or Run Command of its own, or keep its key until it has moved",
		Undo:     "put the line back from the saved key file",
		Sources:  []string{"OpenSSH, sshd(8), AUTHORIZED_KEYS FILE FORMAT", "amazon-ssm-agent, port session plugin"},
	}, {
		Code: "key-unused", Area: "ssh", Severity: fleet.SeverityNote,
		Title:    "Nobody used the key",
		Means:    "No login with it is in logs that reach back far enough. Nobody is likely to miss it.",
		Detected: "The log covers the policy's days (90 by default) up to the probe, names the key of every login, and names this one in none. Where the log does not reach back, nothing is claimed.",
		Fix:      "quarantine it in an early wave",
		Undo:     "put the line back from the saved key file",
		Sources:  []string{"OpenSSH, sshd_config(5), LogLevel"},
	}, {
		Code: "key-commands", Area: "ssh", Severity: fleet.SeverityRisk,
		Title:    "Keys come from elsewhere than files",
		Means:    "A key command (EC2 Instance Connect, IAM), a certificate authority or a principals command lets people in whom no authorized_keys file names. Moving key files aside does not close this door.",
		Detected: "AuthorizedKeysCommand, TrustedUserCAKeys or AuthorizedPrincipalsCommand in sshd's effective settings or in the daemon's arguments, where EC2 Instance Connect puts its own.",
		Fix:      "decide for each source who may still use it after the move, and close it by its own means",
		Undo:     "put the setting back",
		Sources:  []string{"OpenSSH, sshd_config(5)", "aws/aws-ec2-instance-connect-config"},
	}, {
		Code: "password-authentication", Area: "ssh", Severity: fleet.SeverityNote,
		Title:    "sshd accepts passwords",
		Means:    "Moving key files aside does not close this door.",
		Detected: "PasswordAuthentication yes, or KbdInteractiveAuthentication yes with UsePAM yes, in sshd's effective settings for any user.",
		Fix:      "set PasswordAuthentication and KbdInteractiveAuthentication to no, after the recovery way in is proved",
		Undo:     "put the setting back",
		Sources:  []string{"OpenSSH, sshd_config(5)"},
	}}
}
