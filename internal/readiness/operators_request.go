package readiness

import (
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
)

const (
	// instanceConnectAction lets somebody push a key that sshd accepts for 60 seconds.
	// Source: AWS Service Authorization Reference, ec2-instance-connect.
	instanceConnectAction = "ec2-instance-connect:SendSSHPublicKey"

	shellScript   = "AWS-RunShellScript"
	sshDocument   = "AWS-StartSSHSession"
	documentCheck = "ssm:sessiondocumentaccesscheck"

	// standIn is the session name of whoever assumes a role.
	standIn = "somebody"
	other   = "another.person-0123456789abcdef0"
)

// sessionDocuments are AWS's own documents for other sessions than the default shell.
// Source: AWS Systems Manager User Guide, session-manager-working-with-sessions-start.
var sessionDocuments = []string{
	sshDocument, "AWS-StartPortForwardingSession", "AWS-StartPortForwardingSessionToRemoteHost",
	"AWS-StartInteractiveCommand", "AWS-StartNonInteractiveCommand",
}

// preferencesActions change what every shell session of the Region does.
var preferencesActions = []string{"ssm:CreateDocument", "ssm:UpdateDocument", "ssm:UpdateDocumentDefaultVersion", "ssm:DeleteDocument"}

// The layers of requests that do not differ between actors or hosts.
var (
	checked   = contextValues{documentCheck: {"true"}}
	unchecked = contextValues{documentCheck: {"false"}}
	untagged  = contextValues{"aws:resourcetag/": nil, "ssm:resourcetag/": nil}
)

// judge answers for an actor all that fleet.Operator tells, once for each
// class of hosts.
func (w *workforce) judge(x *actor) {
	x.channels = map[string]answer{}
	for _, region := range w.regions[x.account] {
		x.channels[region] = x.opens(region)
		for _, action := range preferencesActions {
			x.edit = max(x.edit, x.ask(action, x.document(region, x.account, fleet.PreferencesName), regionValues(region), untagged).allowed)
		}
	}
	x.anywhere = yes
	for _, c := range x.where.classes {
		x.reach = append(x.reach, w.on(x, c))
	}
	for _, region := range w.regions[x.account] {
		anyone := regionValues(region)
		resource := "arn:" + partitionOf(x.arn) + ":ec2:" + region + ":" + x.account + ":instance/i-0ffffffffffffffff"
		x.anywhere = min(x.anywhere, max(x.ask("ssm:StartSession", resource, anyone, untagged, checked).allowed, x.ask("ssm:StartSession", resource, anyone, untagged, unchecked).allowed))
	}
	if len(w.regions[x.account]) == 0 {
		x.anywhere = no
	}
	w.listDocuments(x)
}

func regionValues(region string) contextValues {
	return contextValues{"aws:requestedregion": {region}}
}

// ask puts one request to IAM's rules.
func (x *actor) ask(action, resource string, layers ...contextValues) decision {
	return x.may.decide(action, resource, append(requestContext{x.context}, layers...))
}

func (x *actor) document(region, account, name string) string {
	return "arn:" + partitionOf(x.arn) + ":ssm:" + region + ":" + account + ":document/" + name
}

// on says what an actor may do on the hosts of a class.
func (w *workforce) on(x *actor, c class) reach {
	instance := instanceARN(x.arn, c.example)
	var r reach
	r.start, r.why = x.shell(instance, c)
	w.encrypt(x, c, &r)
	script := x.ask("ssm:SendCommand", x.document(c.example.Region, "", shellScript), regionValues(c.example.Region), untagged)
	r.command = min(x.ask("ssm:SendCommand", instance, c.values).allowed, script.allowed)
	session := "arn:" + partitionOf(x.arn) + ":ssm:" + c.example.Region + ":" + x.account + ":session/" + other
	foreign := contextValues{
		"aws:requestedregion": {c.example.Region}, "aws:resourcetag/": nil, "ssm:resourcetag/": nil,
		"ssm:resourcetag/aws:ssmmessages:session-id": {"AIDAANOTHERPERSON"},
		"aws:resourcetag/aws:ssmmessages:session-id": {"AIDAANOTHERPERSON"},
		"ssm:resourcetag/" + targetTag:               {c.example.ID},
		"aws:resourcetag/" + targetTag:               {c.example.ID},
	}
	r.resume = x.ask("ssm:ResumeSession", session, x.self, foreign).allowed
	r.terminate = x.ask("ssm:TerminateSession", session, x.self, foreign).allowed
	r.connect = x.ask(instanceConnectAction, instance, c.values).allowed
	return r
}

// encrypt takes back a shell whose session the actor cannot encrypt: where the
// preferences name a key, its client has to make the session's data key.
// Source: AWS Systems Manager User Guide, session-preferences-enable-encryption.
func (w *workforce) encrypt(x *actor, c class, r *reach) {
	if r.start == no {
		return
	}
	d, needed := w.operatorKey(w.index.region(c.example), x.may, x.who, c.example.ID, requestContext{x.context})
	if !needed || d.allowed >= r.start {
		return
	}
	r.start, r.why = d.allowed, "kms:GenerateDataKey: "+d.why
	if d.allowed == no {
		x.keyless = r.why
	}
}

// shell says whether an actor may open a shell. The guide wants the default
// document named as a resource; older texts say that a policy which names no
// document grants it as well, unless ssm:SessionDocumentAccessCheck asks for
// it. Where only the older rule grants it, that is not known to work. The
// same goes for an actor without the data channel, which newer plugins need.
// Source: AWS Systems Manager User Guide,
// getting-started-default-session-document and getting-started-sessiondocumentaccesscheck.
func (x *actor) shell(instance string, c class) (answer, string) {
	on := x.ask("ssm:StartSession", instance, c.values, checked)
	document := x.ask("ssm:StartSession", x.document(c.example.Region, x.account, fleet.PreferencesName), regionValues(c.example.Region), untagged, checked)
	a, why := min(on.allowed, document.allowed), on.why
	if document.allowed < on.allowed {
		why = "document " + fleet.PreferencesName + ": " + document.why
	}
	if a == no && document.denials == nil && document.controlled == nil && document.bounded == "" {
		if bare := x.ask("ssm:StartSession", instance, c.values, unchecked); bare.allowed > no {
			x.implicit = true
			a, why = maybe, bare.why+", but no policy names document "+fleet.PreferencesName
		}
	}
	if a == yes {
		switch x.channels[c.example.Region] {
		case no:
			a, why = maybe, "ssmmessages:OpenDataChannel is not allowed, which newer plugins need"
		case maybe:
			a, why = maybe, "whether ssmmessages:OpenDataChannel is allowed is not known, and newer plugins need it"
		}
	}
	return a, why
}

// opens says whether an actor may open the data channel of its own sessions.
// AWS's texts disagree on the resource: the action knows none, and the
// quickstart policy names the session. Either is taken.
// Source: AWS Service Authorization Reference, ssmmessages; AWS Systems
// Manager User Guide, getting-started-restrict-access-quickstart.
func (x *actor) opens(region string) answer {
	const action = "ssmmessages:OpenDataChannel"
	at := regionValues(region)
	a := x.ask(action, "*", at).allowed
	session := "arn:" + partitionOf(x.arn) + ":ssm:" + region + ":" + x.account + ":session/"
	for _, id := range []string{first(x.context["aws:username"]), first(x.self["aws:userid"]), standIn} {
		if id != "" && a < yes {
			a = max(a, x.ask(action, session+id+"-0123456789abcdef0", x.self, at).allowed)
		}
	}
	return a
}

// listDocuments finds the session documents besides the default one that an
// actor may start on some host.
func (w *workforce) listDocuments(x *actor) {
	grants := func(name, owner string) bool {
		return slices.ContainsFunc(w.regions[x.account], func(region string) bool {
			layers := []contextValues{regionValues(region), checked}
			if owner == "" {
				layers = append(layers, untagged)
			}
			return x.ask("ssm:StartSession", x.document(region, owner, name), layers...).allowed == yes
		})
	}
	if !slices.ContainsFunc(x.where.classes, func(c class) bool {
		return x.ask("ssm:StartSession", instanceARN(x.arn, c.example), c.values, checked).allowed == yes
	}) {
		return
	}
	for _, name := range sessionDocuments {
		if grants(name, "") {
			x.documents = append(x.documents, name)
		}
	}
	for _, name := range w.documents[x.account] {
		if name != fleet.PreferencesName && grants(name, x.account) {
			x.documents = append(x.documents, name)
		}
	}
}

// onHosts says on how many hosts an actor may do a thing.
func onHosts(r fleet.Reach) string {
	text := "on " + fleet.Count(r.Yes, "host")
	if r.Unknown > 0 {
		text += fmt.Sprintf(", and perhaps on %d more", r.Unknown)
	}
	return text
}
