package simfleet

// sshdKeyword is one keyword of sshd_config.
type sshdKeyword struct {
	name     string
	value    string // default, as "sshd -T" prints it; empty: printed only when set
	kind     keywordKind
	adds     bool // every line adds values, printed one per line
	verbatim bool // the rest of the line is one value
	since    int  // first version that prints it, as machine.version gives them
	until    int  // first version that does not; 0: none
}

// keywordKind says how sshd writes a value back.
type keywordKind int

const (
	asGiven keywordKind = iota
	lower
	upper
	aTime     // "5m" becomes 300
	rootLogin // prohibit-password becomes without-password
	startups  // "20" becomes 20:30:20
)

// sshdKeywords lists the keywords in the order in which sshd -T prints them.
// Order and defaults are those of OpenSSH 9.2p1 as Debian 12 builds it.
var sshdKeywords = []sshdKeyword{
	{name: "port", value: "22"},
	{name: "addressfamily", value: "any"},
	{name: "listenaddress", adds: true},
	{name: "usepam", value: "no", kind: lower},
	{name: "logingracetime", value: "120", kind: aTime},
	{name: "x11displayoffset", value: "10"},
	{name: "maxauthtries", value: "6"},
	{name: "maxsessions", value: "10"},
	{name: "clientaliveinterval", value: "0", kind: aTime},
	{name: "clientalivecountmax", value: "3"},
	{name: "requiredrsasize", value: "1024", since: 901},
	{name: "streamlocalbindmask", value: "0177"},
	{name: "unusedconnectiontimeout", value: "none", since: 902},
	{name: "permitrootlogin", value: "without-password", kind: rootLogin},
	{name: "ignorerhosts", value: "yes", kind: lower},
	{name: "ignoreuserknownhosts", value: "no", kind: lower},
	{name: "hostbasedauthentication", value: "no", kind: lower},
	{name: "hostbasedusesnamefrompacketonly", value: "no", kind: lower},
	{name: "pubkeyauthentication", value: "yes", kind: lower},
	{name: "kerberosauthentication", value: "no", kind: lower},
	{name: "kerberosorlocalpasswd", value: "yes", kind: lower},
	{name: "kerberosticketcleanup", value: "yes", kind: lower},
	{name: "gssapiauthentication", value: "no", kind: lower},
	{name: "gssapicleanupcredentials", value: "yes", kind: lower},
	{name: "gssapikeyexchange", value: "no", kind: lower},
	{name: "gssapistrictacceptorcheck", value: "yes", kind: lower},
	{name: "gssapistorecredentialsonrekey", value: "no", kind: lower},
	{name: "gssapikexalgorithms", value: "gss-group14-sha256-,gss-group16-sha512-,gss-nistp256-sha256-,gss-curve25519-sha256-,gss-group14-sha1-,gss-gex-sha1-"},
	{name: "passwordauthentication", value: "yes", kind: lower},
	{name: "kbdinteractiveauthentication", value: "yes", kind: lower},
	{name: "challengeresponseauthentication", value: "yes", kind: lower, until: 807},
	{name: "printmotd", value: "yes", kind: lower},
	{name: "printlastlog", value: "yes", kind: lower},
	{name: "x11forwarding", value: "no", kind: lower},
	{name: "x11uselocalhost", value: "yes", kind: lower},
	{name: "permittty", value: "yes", kind: lower},
	{name: "permituserrc", value: "yes", kind: lower},
	{name: "strictmodes", value: "yes", kind: lower},
	{name: "tcpkeepalive", value: "yes", kind: lower},
	{name: "permitemptypasswords", value: "no", kind: lower},
	{name: "compression", value: "yes", kind: lower},
	{name: "gatewayports", value: "no", kind: lower},
	{name: "usedns", value: "no", kind: lower},
	{name: "allowtcpforwarding", value: "yes", kind: lower},
	{name: "allowagentforwarding", value: "yes", kind: lower},
	{name: "disableforwarding", value: "no", since: 704, kind: lower},
	{name: "allowstreamlocalforwarding", value: "yes", kind: lower},
	{name: "streamlocalbindunlink", value: "no", kind: lower},
	{name: "fingerprinthash", value: "SHA256"},
	{name: "exposeauthinfo", value: "no", since: 706, kind: lower},
	{name: "pidfile", value: "/run/sshd.pid"},
	{name: "modulifile", value: "/etc/ssh/moduli", since: 805},
	{name: "xauthlocation", value: "/usr/bin/xauth"},
	{name: "ciphers", value: "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com"},
	{name: "macs", value: "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1"},
	{name: "banner", value: "none", verbatim: true},
	{name: "forcecommand", value: "none", verbatim: true},
	{name: "chrootdirectory", value: "none"},
	{name: "trustedusercakeys", value: "none"},
	{name: "revokedkeys", value: "none"},
	{name: "securitykeyprovider", value: "internal", since: 802},
	{name: "authorizedprincipalsfile", value: "none"},
	{name: "versionaddendum", value: "none", verbatim: true},
	{name: "authorizedkeyscommand", value: "none", verbatim: true},
	{name: "authorizedkeyscommanduser", value: "none"},
	{name: "authorizedprincipalscommand", value: "none", verbatim: true},
	{name: "authorizedprincipalscommanduser", value: "none"},
	{name: "hostkeyagent", value: "none"},
	{name: "kexalgorithms", value: "sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256"},
	{name: "casignaturealgorithms", value: "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256", since: 709},
	{name: "hostbasedacceptedalgorithms", value: "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"},
	{name: "hostkeyalgorithms", value: "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"},
	{name: "pubkeyacceptedalgorithms", value: "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"},
	{name: "loglevel", value: "INFO", kind: upper},
	{name: "syslogfacility", value: "AUTH", kind: upper},
	{name: "authorizedkeysfile", value: ".ssh/authorized_keys .ssh/authorized_keys2"},
	{name: "hostkey", value: "/etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_ecdsa_key /etc/ssh/ssh_host_ed25519_key", adds: true},
	{name: "hostcertificate", adds: true},
	{name: "allowusers", adds: true},
	{name: "denyusers", adds: true},
	{name: "allowgroups", adds: true},
	{name: "denygroups", adds: true},
	{name: "acceptenv", adds: true},
	{name: "setenv"},
	{name: "authenticationmethods", value: "any"},
	{name: "subsystem", adds: true, verbatim: true},
	{name: "maxstartups", value: "10:30:100", kind: startups},
	{name: "persourcemaxstartups", value: "none", since: 805},
	{name: "persourcenetblocksize", value: "32:128", since: 805},
	{name: "permittunnel", value: "no", kind: lower},
	{name: "ipqos", value: "lowdelay throughput"},
	{name: "rekeylimit", value: "0 0"},
	{name: "permitopen", value: "any"},
	{name: "permitlisten", value: "any", since: 708},
	{name: "permituserenvironment", value: "no", kind: lower},
	{name: "pubkeyauthoptions", value: "none", since: 802},
}

// sshdAliases are older names of keywords.
var sshdAliases = map[string]string{
	"challengeresponseauthentication": "kbdinteractiveauthentication",
	"skeyauthentication":              "kbdinteractiveauthentication",
	"pubkeyacceptedkeytypes":          "pubkeyacceptedalgorithms",
	"hostbasedacceptedkeytypes":       "hostbasedacceptedalgorithms",
	"dsaauthentication":               "pubkeyauthentication",
	"keepalive":                       "tcpkeepalive",
}

// sshdDeprecated are keywords that sshd reads over.
var sshdDeprecated = map[string]bool{
	"protocol": true, "useprivilegeseparation": true, "rsaauthentication": true, "rhostsrsaauthentication": true,
	"keyregenerationinterval": true, "serverkeybits": true, "uselogin": true, "debianbanner": true,
	"logverbose": true, "channeltimeout": true, "rdomain": true,
}
