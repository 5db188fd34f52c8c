package simfleet

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

func sessionCauses() []Cause {
	return []Cause{
		{Number: 24, Name: "kms-decrypt-missing", Text: "sessions are encrypted, and the host's role may not decrypt", Breaks: true, Shared: "region",
			Inject: func(w *World, in *Instance) error {
				in.seen(w)
				w.encryptSessions(in.Region)
				w.withhold(in, "kms:*")
				return nil
			}},
		{Number: 25, Name: "log-encryption-unverifiable", Text: "session logs must be encrypted, and the host's role may not ask whether they are", Breaks: true, Shared: "region",
			Inject: func(w *World, in *Instance) error {
				in.seen(w)
				w.logSessions(in.Region)
				w.withhold(in, "logs:DescribeLogGroups")
				return nil
			}},
		{Number: 26, Name: "run-as-user-missing", Text: "sessions run as a user whom the host does not have", Breaks: true, Shared: "region", Inject: runAsUser},
		{Number: 27, Name: "ssm-user-foreign", Text: "ssm-user was there before the agent, which wrote no sudo rule for it",
			Inject: onHost(func(in *Instance) { in.Machine.SSMUser = SSMUserForeign })},
		{Number: 28, Name: "idle-timeout", Text: "sessions end after minutes without input, and the host's users leave theirs open for hours", Shared: "region",
			Inject: func(w *World, in *Instance) error {
				in.Region.editPreferences(map[string]any{"idleSessionTimeout": "2"})
				in.use(w, habitOf("longrunner", fleet.UseShell, 12))
				return nil
			}},
	}
}

// editPreferences sets inputs of the Region's preferences document, and makes
// it where there is none.
func (rg *Region) editPreferences(inputs map[string]any) {
	var doc struct {
		SchemaVersion string         `json:"schemaVersion"`
		Description   string         `json:"description"`
		SessionType   string         `json:"sessionType"`
		Inputs        map[string]any `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(rg.Preferences), &doc); err != nil || doc.Inputs == nil {
		doc.SchemaVersion, doc.Description, doc.SessionType = "1.0", "Document to hold regional settings for Session Manager", "Standard_Stream"
		doc.Inputs = map[string]any{"s3BucketName": "", "s3KeyPrefix": "", "s3EncryptionEnabled": true, "cloudWatchLogGroupName": "", "cloudWatchEncryptionEnabled": true,
			"cloudWatchStreamingEnabled": true, "kmsKeyId": "", "runAsEnabled": false, "runAsDefaultUser": "", "idleSessionTimeout": "20"}
	}
	for k, v := range inputs {
		doc.Inputs[k] = v
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic("simfleet: writing preferences: " + err.Error()) // JSON came in
	}
	rg.Preferences = string(text)
}

// sessionKey is the key that encryptSessions and logSessions use.
func (rg *Region) sessionKey(w *World) *fleet.KMSKey {
	arn := "arn:aws:kms:" + rg.Name + ":" + rg.Account.ID + ":key/6f1d0c5e-2b3a-4c4d-9e5f-7a8b9c0d1e2f"
	if k := find(rg.Keys, func(k *fleet.KMSKey) bool { return k.ARN == arn }); k != nil {
		return k
	}
	k := &fleet.KMSKey{ID: arn, ARN: arn, Exists: true, State: "Enabled", Manager: "CUSTOMER", Policy: fleet.Known(defaultKeyPolicy(rg.Account.ID), "", w.Now())}
	rg.Keys = append(rg.Keys, k)
	return k
}

// encryptSessions makes the Region's preferences name a key, for everybody who
// takes part in sessions today.
func (w *World) encryptSessions(rg *Region) {
	if preferences(rg.Preferences).Key != "" {
		return
	}
	k := rg.sessionKey(w)
	rg.editPreferences(map[string]any{"kmsKeyId": k.ARN})
	rg.Account.grantAll("session-key", statement{Effect: "Allow", Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: k.ARN})
	w.endpointsFor(rg, "kms")
}

// logSessions makes the Region's preferences ask for encrypted session logs.
func (w *World) logSessions(rg *Region) {
	p := preferences(rg.Preferences)
	if p.LogGroup != "" && p.LogGroupEncrypted {
		return
	}
	name := p.LogGroup
	if name == "" {
		name = "/ssm/sessions"
	}
	g := find(rg.LogGroups, func(g *fleet.LogGroup) bool { return g.Name == name })
	if g == nil {
		g = &fleet.LogGroup{Name: name, ARN: "arn:aws:logs:" + rg.Name + ":" + rg.Account.ID + ":log-group:" + name + ":*"}
		rg.LogGroups = append(rg.LogGroups, g)
	}
	g.Exists = true
	if g.Key == "" {
		g.Key = rg.sessionKey(w).ARN
	}
	rg.editPreferences(map[string]any{"cloudWatchLogGroupName": name, "cloudWatchEncryptionEnabled": true})
	rg.Account.grantAll("session-logs", statement{Effect: "Allow", Action: []string{"logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:CreateLogStream", "logs:PutLogEvents"}, Resource: "*"})
	w.endpointsFor(rg, "logs")
}

// grantAll gives every role and user of the account a further policy. Roles
// of causes are left as they are.
func (a *Account) grantAll(name string, s statement) {
	text := document(s)
	for _, r := range a.Roles {
		if _, caused := r.Inline["agent"]; caused || strings.HasPrefix(pathOf(r.ARN), "/aws-service-role/") {
			continue
		}
		if r.Inline == nil {
			r.Inline = map[string]string{}
		}
		r.Inline[name] = text
	}
	for _, u := range a.Users {
		if u.Inline == nil {
			u.Inline = map[string]string{}
		}
		u.Inline[name] = text
	}
}

// endpointsFor makes an endpoint for a service in every VPC whose hosts serve
// sessions and do not reach the service.
func (w *World) endpointsFor(rg *Region, service string) {
	for _, in := range rg.Instances {
		like := rg.endpointOf(in.Host.VPC, "ssmmessages")
		if like == nil || rg.endpointOf(in.Host.VPC, service) != nil || w.EgressTo(in, service).TLS {
			continue
		}
		n := &network{w: w, rg: rg, in: in, vpc: find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == in.Host.VPC })}
		e := n.addEndpoint(service, "")
		e.Groups = like.Groups
		for _, eni := range rg.ENIs {
			if eni.Owner == e.ID {
				eni.Groups = like.Groups
			}
		}
	}
}

// runAsUser makes sessions run as a user whom all other hosts have.
func runAsUser(w *World, in *Instance) error {
	const user = "ssm-ops"
	if in.OS.Family == "windows" {
		return notHere("Windows knows no Run As")
	}
	in.seen(w)
	for _, other := range in.Region.Instances {
		has := slices.ContainsFunc(other.Users, func(u *User) bool { return u.Name == user })
		if other == in || has || other.OS.Family == "windows" {
			continue
		}
		id := 1000
		for _, u := range other.Users {
			id = max(id, u.UID)
		}
		other.Users = append(slices.Clone(other.Users), &User{Name: user, UID: id + 1, Home: "/home/" + user, Shell: "/bin/sh"})
	}
	in.Users = slices.DeleteFunc(slices.Clone(in.Users), func(u *User) bool { return u.Name == user })
	in.Region.editPreferences(map[string]any{"runAsEnabled": true, "runAsDefaultUser": user})
	return nil
}

// custom is what somebody does over SSH, and how often.
type custom struct {
	who string
	use fleet.Use
	n   int
}

func habitOf(who string, use fleet.Use, n int) custom { return custom{who, use, n} }

// use writes a custom into the instance's log, once a night up to the last
// hour, opens its last session, and gives its key the image's login user.
func (in *Instance) use(w *World, c custom) {
	g := generator{seed: w.Seed}
	key := makeKey(g.rng("custom", in.Host.ID, c.who), "ed25519", c.who+"@"+c.who+".corp.example")
	i := slices.IndexFunc(in.Users, func(u *User) bool { return u.Name == in.OS.User })
	if i < 0 {
		return
	}
	u := *in.Users[i]
	if !slices.Contains(u.Keys, key.line()) {
		u.Keys = append(slices.Clone(u.Keys), key.line())
	}
	in.Users = slices.Clone(in.Users)
	in.Users[i] = &u
	from := addressAt(officeNet, 200)
	if b := w.Bastion(in); b != nil {
		from = b.Host.PrivateIP
	}
	last := w.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	in.Logins = slices.Clone(in.Logins)
	for n := range c.n {
		in.Logins = append(in.Logins, Login{At: last.AddDate(0, 0, n-c.n+1), User: u.Name, Method: "publickey", Key: key.fingerprint, From: from, Port: 40000 + n, Use: c.use})
	}
	slices.SortStableFunc(in.Logins, func(a, b Login) int { return a.At.Compare(b.At) })
	s := OpenSession{User: u.Name, From: from, PID: in.freePID(), Key: key.fingerprint, Use: c.use}
	if c.use == fleet.UseShell {
		s.TTY = "pts/1"
	}
	in.Sessions = append(slices.Clone(in.Sessions), s)
}

// freePID gives a process ID, for a session, that no open session is near.
func (in *Instance) freePID() int {
	pid := 3100
	for _, s := range in.Sessions {
		pid = max(pid, s.PID+10)
	}
	return pid
}
