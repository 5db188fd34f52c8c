-- A database of schema 1 as its program left it.
PRAGMA application_id = 1397968237;
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE accounts (
    -- Owner: inventory. One row for each access (profile or role) to an AWS account.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    label    TEXT    NOT NULL,
    id       TEXT    NOT NULL,                  -- account ID; empty when STS would not say
    PRIMARY KEY (snapshot, label)
) STRICT, WITHOUT ROWID;
INSERT INTO "accounts" VALUES(1,'ops','111122223333');
CREATE TABLE collections (
    -- Owner: inventory. What one API gave for an account (region is empty) or a
    -- Region, and whether it gave all of it.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    label    TEXT    NOT NULL,
    region   TEXT    NOT NULL,
    name     TEXT    NOT NULL,                  -- "vpcs", "roles", ...
    known    INTEGER NOT NULL CHECK (known IN (0, 1)),
    elements INTEGER NOT NULL,                  -- how many are in content
    source   TEXT    NOT NULL,                  -- "ec2:DescribeVpcs"
    at       TEXT,
    reason   TEXT    NOT NULL,                  -- why it is not known
    content  TEXT    NOT NULL CHECK (json_valid(content)),
    PRIMARY KEY (snapshot, label, region, name)
) STRICT;
INSERT INTO "collections" VALUES(1,'ops','','caller',1,0,'sts:GetCallerIdentity','2026-03-01T12:00:00.123456789Z','','"arn:aws:iam::111122223333:user/ops"');
INSERT INTO "collections" VALUES(1,'ops','','profiles',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','','roles',1,1,'iam:GetAccountAuthorizationDetails','2026-03-01T12:00:00.123456789Z','','[{"name":"web","arn":"","trust":""}]');
INSERT INTO "collections" VALUES(1,'ops','','policies',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','instances',0,0,'',NULL,'','0');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','nodes',1,0,'ssm:DescribeInstanceInformation','2026-03-01T12:00:00.123456789Z','','2');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','defaultRole',0,0,'',NULL,'','""');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','scalingGroups',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','templates',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','keyPairs',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','vpcs',0,1,'ec2:DescribeVpcs','2026-03-01T12:00:00.123456789Z','throttled','[{"id":"vpc-1","cidrs":null,"dnsSupport":{"known":false,"value":false},"dnsHostnames":{"known":false,"value":false}}]');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','subnets',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','routeTables',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','groups',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','networkAcls',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','endpoints',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','gateways',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','natGateways',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','prefixLists',0,0,'',NULL,'','null');
INSERT INTO "collections" VALUES(1,'ops','eu-west-1','dhcpOptions',0,0,'',NULL,'','null');
CREATE TABLE connections (
    -- Owner: inventory. What ssm:GetConnectionStatus said of a host.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    host     TEXT    NOT NULL,
    known    INTEGER NOT NULL CHECK (known IN (0, 1)),
    status   TEXT    NOT NULL,
    source   TEXT    NOT NULL,
    at       TEXT,
    reason   TEXT    NOT NULL,
    PRIMARY KEY (snapshot, host)
) STRICT, WITHOUT ROWID;
INSERT INTO "connections" VALUES(1,'i-00000000000000001',1,'connected','ssm:GetConnectionStatus','2026-03-01T12:00:01.123456789Z','');
INSERT INTO "connections" VALUES(1,'i-00000000000000002',1,'connected','ssm:GetConnectionStatus','2026-03-01T12:00:02.123456789Z','');
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO "goose_db_version" VALUES(1,0,1,'2026-11-21 10:23:46');
INSERT INTO "goose_db_version" VALUES(2,1,1,'2026-11-21 10:23:46');
CREATE TABLE host_keys (
    -- Owner: inventory. One row for each public key that opens a host, so that
    -- "where is this key" is one indexed look-up. Public keys only.
    snapshot    INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    host        TEXT    NOT NULL,
    position    INTEGER NOT NULL,               -- order in the probe
    user        TEXT    NOT NULL,
    file        TEXT    NOT NULL,
    line        INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    bits        INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    blob        TEXT    NOT NULL,               -- base64 of the public key
    comment     TEXT    NOT NULL,
    options     TEXT    CHECK (options IS NULL OR json_valid(options)), -- list; NULL without options
    ca          INTEGER NOT NULL CHECK (ca IN (0, 1)),
    problem     TEXT    NOT NULL,
    PRIMARY KEY (snapshot, host, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "host_keys" VALUES(1,'i-00000000000000001',0,'ec2-user','/home/ec2-user/.ssh/authorized_keys',1,'ssh-ed25519',256,'SHA256:0000000000000000000000000000000000000000000','AAAAC3NzaC1lZDI1NTE5AAAAI0000000000000000000000000000000000000000000','user0@laptop',NULL,0,'');
INSERT INTO "host_keys" VALUES(1,'i-00000000000000001',1,'ec2-user','/home/ec2-user/.ssh/authorized_keys',2,'ssh-ed25519',256,'SHA256:0000000000000000000000000000000000000000001','AAAAC3NzaC1lZDI1NTE5AAAAI0000000000000000000000000000000000000000001','user1@laptop',NULL,0,'');
INSERT INTO "host_keys" VALUES(1,'i-00000000000000002',0,'ec2-user','/home/ec2-user/.ssh/authorized_keys',1,'ssh-ed25519',256,'SHA256:0000000000000000000000000000000000000000000','AAAAC3NzaC1lZDI1NTE5AAAAI0000000000000000000000000000000000000000000','user0@laptop',NULL,0,'');
INSERT INTO "host_keys" VALUES(1,'i-00000000000000002',1,'ec2-user','/home/ec2-user/.ssh/authorized_keys',2,'ssh-ed25519',256,'SHA256:0000000000000000000000000000000000000000001','AAAAC3NzaC1lZDI1NTE5AAAAI0000000000000000000000000000000000000000001','user1@laptop',NULL,0,'');
CREATE TABLE hosts (
    -- Owner: inventory. One row for each EC2 instance. record is all that EC2
    -- said; the other columns repeat what is listed and joined.
    snapshot           INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    id                 TEXT    NOT NULL,        -- EC2 instance ID
    account            TEXT    NOT NULL,
    region             TEXT    NOT NULL,
    az                 TEXT    NOT NULL,
    name               TEXT    NOT NULL,        -- Name tag, or the ID
    state              TEXT    NOT NULL,
    platform           TEXT    NOT NULL,
    image              TEXT    NOT NULL,
    vpc                TEXT    NOT NULL,
    subnet             TEXT    NOT NULL,
    private_ip         TEXT    NOT NULL,
    public_ip          TEXT    NOT NULL,
    profile_arn        TEXT    NOT NULL,
    auto_scaling_group TEXT    NOT NULL,
    record             TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (snapshot, id)
) STRICT;
INSERT INTO "hosts" VALUES(1,'i-00000000000000001','111122223333','eu-west-1','eu-west-1a','web-1','running','Linux/UNIX','ami-0123456789abcdef0','vpc-1','subnet-1','10.0.0.1','','arn:aws:iam::111122223333:instance-profile/web','web','{"id":"i-00000000000000001","account":"111122223333","region":"eu-west-1","az":"eu-west-1a","tags":{"Name":"web-1","team":"shop"},"state":"running","architecture":"x86_64","platform":"Linux/UNIX","imageId":"ami-0123456789abcdef0","instanceType":"m7i.large","launchTime":"2026-03-01T12:00:00.123456789Z","vpc":"vpc-1","subnet":"subnet-1","privateIp":"10.0.0.1","groups":["sg-1"],"profileArn":"arn:aws:iam::111122223333:instance-profile/web","autoScalingGroup":"web","metadata":{}}');
INSERT INTO "hosts" VALUES(1,'i-00000000000000002','111122223333','eu-west-1','eu-west-1a','web-2','running','Linux/UNIX','ami-0123456789abcdef0','vpc-1','subnet-1','10.0.0.2','','arn:aws:iam::111122223333:instance-profile/web','web','{"id":"i-00000000000000002","account":"111122223333","region":"eu-west-1","az":"eu-west-1a","tags":{"Name":"web-2","team":"shop"},"state":"running","architecture":"x86_64","platform":"Linux/UNIX","imageId":"ami-0123456789abcdef0","instanceType":"m7i.large","launchTime":"2026-03-01T12:00:00.123456789Z","vpc":"vpc-1","subnet":"subnet-1","privateIp":"10.0.0.2","groups":["sg-1"],"profileArn":"arn:aws:iam::111122223333:instance-profile/web","autoScalingGroup":"web","metadata":{}}');
CREATE TABLE nodes (
    -- Owner: inventory. One row for each managed node that Systems Manager
    -- lists, hybrid ones included.
    snapshot      INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    id            TEXT    NOT NULL,             -- i-… or mi-…
    account       TEXT    NOT NULL,
    region        TEXT    NOT NULL,
    ping_status   TEXT    NOT NULL,
    agent_version TEXT    NOT NULL,
    platform_name TEXT    NOT NULL,
    record        TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (snapshot, id)
) STRICT;
INSERT INTO "nodes" VALUES(1,'i-00000000000000001','111122223333','eu-west-1','Online','3.3.987.0','','{"id":"i-00000000000000001","account":"111122223333","region":"eu-west-1","registered":false,"pingStatus":"Online","lastPing":"2026-03-01T12:00:01.123456789Z","agentVersion":"3.3.987.0"}');
INSERT INTO "nodes" VALUES(1,'i-00000000000000002','111122223333','eu-west-1','Online','3.3.987.0','','{"id":"i-00000000000000002","account":"111122223333","region":"eu-west-1","registered":false,"pingStatus":"Online","lastPing":"2026-03-01T12:00:02.123456789Z","agentVersion":"3.3.987.0"}');
CREATE TABLE probe_parts (
    -- Owner: inventory. Parts of probes that many hosts have in common, each
    -- kept once: a fleet of one image has one set of sshd settings.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    digest   TEXT    NOT NULL,                  -- SHA-256 of body, hexadecimal
    body     TEXT    NOT NULL CHECK (json_valid(body)),
    PRIMARY KEY (snapshot, digest)
) STRICT;
INSERT INTO "probe_parts" VALUES(1,'ebbfd2e7c0171b0236dd2dfd8c27d0f0975f0bb8949bacdee1cfdc8be6432494','{"authorizedkeysfile":[".ssh/authorized_keys"],"port":["22"]}');
INSERT INTO "probe_parts" VALUES(1,'43176db5b2bb6caada5b6de73ce0ddee938c458b89d31903a31bc49627a0f990','[{"name":"user00","uid":0,"gid":0,"home":"/var/lib/somewhere","shell":"/usr/sbin/nologin"}]');
CREATE TABLE probes (
    -- Owner: inventory. What a host said of itself over SSH, or why it did not.
    -- record leaves out the keys (table host_keys) and, where a digest is
    -- given, sshd's settings and the users (table probe_parts).
    snapshot      INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    host          TEXT    NOT NULL,
    known         INTEGER NOT NULL CHECK (known IN (0, 1)),
    source        TEXT    NOT NULL,
    at            TEXT,
    reason        TEXT    NOT NULL,
    login_user    TEXT    NOT NULL,
    root          INTEGER NOT NULL CHECK (root IN (0, 1)),
    os            TEXT    NOT NULL,
    agent_version TEXT    NOT NULL,             -- as the host itself shows it
    settings      TEXT,                         -- digest of sshd's settings
    users         TEXT,                         -- digest of the users
    record        TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (snapshot, host)
) STRICT;
INSERT INTO "probes" VALUES(1,'i-00000000000000001',1,'probe','2026-03-01T12:00:01.123456789Z','','ec2-user',1,'Amazon Linux 2023','3.3.987.0','ebbfd2e7c0171b0236dd2dfd8c27d0f0975f0bb8949bacdee1cfdc8be6432494','43176db5b2bb6caada5b6de73ce0ddee938c458b89d31903a31bc49627a0f990','{"loginUser":"ec2-user","root":true,"via":null,"hostTime":"2026-03-01T12:00:01.123456789Z","hostname":"i-00000000000000001","os":{"id":"amzn","version":"2023","name":"Amazon Linux 2023","kernel":"","arch":""},"sshd":{"known":true,"value":{"version":"OpenSSH_8.7p1","settings":null},"source":"probe: sshd -T","at":"2026-03-01T12:00:01.123456789Z"},"users":{"known":true,"value":null,"source":"probe: getent passwd","at":"2026-03-01T12:00:01.123456789Z"},"keys":{"known":true,"value":null,"source":"probe: authorized_keys","at":"2026-03-01T12:00:01.123456789Z"},"agent":{"known":true,"value":{"installed":true,"version":"3.3.987.0","active":"active"},"source":"probe: systemctl","at":"2026-03-01T12:00:01.123456789Z"},"endpoints":{"known":false,"value":null},"logins":{"known":true,"value":{"source":"journal","from":"2026-03-01T12:00:00.123456789Z","to":"2026-03-01T12:00:01.123456789Z","logins":[{"user":"ec2-user","method":"publickey","fingerprint":"SHA256:0000000000000000000000000000000000000000000","from":"10.9.9.9","count":7,"first":"2026-03-01T12:00:00.123456789Z","last":"2026-03-01T12:00:01.123456789Z"}]},"source":"probe: journal","at":"2026-03-01T12:00:01.123456789Z"},"sessions":{"known":false,"value":null}}');
INSERT INTO "probes" VALUES(1,'i-00000000000000002',1,'probe','2026-03-01T12:00:02.123456789Z','','ec2-user',1,'Amazon Linux 2023','3.3.987.0','ebbfd2e7c0171b0236dd2dfd8c27d0f0975f0bb8949bacdee1cfdc8be6432494','43176db5b2bb6caada5b6de73ce0ddee938c458b89d31903a31bc49627a0f990','{"loginUser":"ec2-user","root":true,"via":null,"hostTime":"2026-03-01T12:00:02.123456789Z","hostname":"i-00000000000000002","os":{"id":"amzn","version":"2023","name":"Amazon Linux 2023","kernel":"","arch":""},"sshd":{"known":true,"value":{"version":"OpenSSH_8.7p1","settings":null},"source":"probe: sshd -T","at":"2026-03-01T12:00:02.123456789Z"},"users":{"known":true,"value":null,"source":"probe: getent passwd","at":"2026-03-01T12:00:02.123456789Z"},"keys":{"known":true,"value":null,"source":"probe: authorized_keys","at":"2026-03-01T12:00:02.123456789Z"},"agent":{"known":true,"value":{"installed":true,"version":"3.3.987.0","active":"active"},"source":"probe: systemctl","at":"2026-03-01T12:00:02.123456789Z"},"endpoints":{"known":false,"value":null},"logins":{"known":true,"value":{"source":"journal","from":"2026-03-01T12:00:00.123456789Z","to":"2026-03-01T12:00:02.123456789Z","logins":[{"user":"ec2-user","method":"publickey","fingerprint":"SHA256:0000000000000000000000000000000000000000000","from":"10.9.9.9","count":7,"first":"2026-03-01T12:00:00.123456789Z","last":"2026-03-01T12:00:02.123456789Z"}]},"source":"probe: journal","at":"2026-03-01T12:00:02.123456789Z"},"sessions":{"known":false,"value":null}}');
CREATE TABLE regions (
    -- Owner: inventory. One row for each Region of each access.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    label    TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    account  TEXT    NOT NULL,                  -- account ID; empty when not known
    PRIMARY KEY (snapshot, label, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "regions" VALUES(1,'ops','eu-west-1','111122223333');
CREATE TABLE snapshots (
    -- Owner: inventory. One row for each run of an inventory; everything else
    -- hangs on it and goes with it. While state is 'running' only its writer
    -- should trust what is there.
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- an ID is never given twice
    started  TEXT,                              -- times: RFC 3339 in UTC, NULL when not known
    finished TEXT,
    state    TEXT    NOT NULL CHECK (state IN ('running', 'complete', 'incomplete')),
    version  TEXT    NOT NULL,                  -- of the program
    hosts    INTEGER NOT NULL DEFAULT 0,
    unknowns INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "snapshots" VALUES(1,'2026-03-01T12:00:00.123456789Z','2026-03-01T12:01:00.123456789Z','incomplete','v1.2.3',2,3);
CREATE INDEX host_keys_by_fingerprint ON host_keys (snapshot, fingerprint);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('goose_db_version',3);
INSERT INTO "sqlite_sequence" VALUES('snapshots',1);
COMMIT;
