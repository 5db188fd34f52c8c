package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// The access set-up that stays is exported in a stage of its own. A policy whose
// proof does not hold is left out, and named.

const fileAccess = "access.tf"

// policies are those that may be exported, with the place from which they are made.
func (w *work) policies() []access.Policy {
	if w.Access == nil || w.Handed {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(w.Access.Policies), func(p access.Policy) bool { return !p.Proof.Holds })
}

// unproved names policies that are left out.
func (w *work) unproved() []string {
	if w.Access == nil || w.Handed {
		return nil
	}
	var out []string
	for _, p := range w.Access.Policies {
		if !p.Proof.Holds {
			out = append(out, fmt.Sprintf("policy %s is left out, its proof does not hold: %s", line(p.Name), line(strings.Join(p.Proof.Problems, "; "))))
		}
	}
	return out
}

// sessionDocuments are those that the access set-up adds to the plan's: session
// preferences that a step changes are the step's.
func (w *work) sessionDocuments() []access.Document {
	if w.Access == nil || w.Handed {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(w.Access.Documents), func(d access.Document) bool {
		return d.Name == fleet.PreferencesName && slices.ContainsFunc(w.jobs, func(j job) bool { return j.Kind == plan.SessionPreferences && j.at == d.At })
	})
}

// present tells whether a session document is there already. A snapshot shows
// the preferences alone.
func (w *work) present(d access.Document) bool {
	return d.Name == fleet.PreferencesName && w.seen.documents[key(d.At.Account, d.At.Region)]
}

// accessPlaces are the places of the access set-up.
func (w *work) accessPlaces() []fleet.Place {
	var out []fleet.Place
	for _, p := range w.policies() {
		out = append(out, w.place(fleet.Place{Account: p.Account}))
	}
	for _, d := range w.sessionDocuments() {
		out = append(out, w.place(d.At))
	}
	return out
}

// holder is a role, user or group that a policy is attached to.
type holder struct{ kind, name string }

// holderOf reads an IAM ARN; ok is false where it is of something else.
func holderOf(arn string) (h holder, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return h, false
	}
	kind, _, ok := strings.Cut(parts[5], "/")
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	return holder{kind, name}, ok && name != "" && slices.Contains([]string{"role", "user", "group"}, kind)
}

func holders(p access.Policy) []holder {
	var out []holder
	for _, arn := range p.Attach {
		if h, ok := holderOf(arn); ok && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

func policyARN(at fleet.Place, name string) string {
	return "arn:" + fleet.Partition(at.Region) + ":iam::" + at.Account + ":policy/" + name
}

type createPolicy struct {
	PolicyName, PolicyDocument, Description string
	Tags                                    []tag
}

func (w *work) createPolicy(p access.Policy) createPolicy {
	// IAM's description takes letters of Latin-1 and no line breaks, at most 1000.
	return createPolicy{PolicyName: p.Name, PolicyDocument: p.Document, Description: latin(p.Why), Tags: w.tags()}
}

func latin(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= ' ' && r <= '~' {
			return r
		}
		return '?'
	}, fleet.OneLine(s, 500))
}

func (h holder) call() string { return "attach-" + h.kind + "-policy" }

func (h holder) input(arn string) map[string]string {
	field := map[string]string{"role": "RoleName", "user": "UserName", "group": "GroupName"}[h.kind]
	return map[string]string{field: h.name, "PolicyArn": arn}
}

func sessionDocument(d access.Document) document {
	return document{Name: d.Name, Content: d.Content, DocumentType: d.Type, DocumentFormat: "JSON"}
}

// why are the comment lines of a policy.
func why(p access.Policy) []string {
	out := []string{fmt.Sprintf("%s of %s %s", line(p.Name), line(string(p.For)), line(p.Who))}
	if p.Why != "" {
		out = append(out, line(p.Why))
	}
	for _, l := range p.Proof.Text {
		out = append(out, "proved: "+line(l))
	}
	return out
}

func (t *terraform) access() error {
	for _, p := range t.policies() {
		j := job{at: t.place(fleet.Place{Account: p.Account})}
		b := t.file(fileAccess)
		b.AppendNewline()
		comment(b, why(p)...)
		arn := policyARN(j.at, p.Name)
		r, name := t.resource(fileAccess, j, "aws_iam_policy", inAccount(j, p.Name), p.Name, existing(t.seen.policies[arn], arn))
		if r == nil {
			continue
		}
		text(r, "name", p.Name)
		text(r, "description", latin(p.Why))
		if err := encoded(r, "policy", p.Document); err != nil {
			return err
		}
		t.tagged(r)
		ignore(r, "description") // it counts hosts, and the provider makes a policy with another one anew
		for _, h := range holders(p) {
			a, _ := t.resource(fileAccess, j, "aws_iam_"+h.kind+"_policy_attachment", inAccount(j, p.Name, h.name), key(p.Name, h.name), "")
			if a != nil {
				text(a, h.kind, h.name)
				a.SetAttributeRaw("policy_arn", refer("aws_iam_policy", name, "arn"))
			}
		}
	}
	for _, d := range t.sessionDocuments() {
		j := job{at: t.place(d.At)}
		r, _ := t.resource(fileAccess, j, "aws_ssm_document", inRegion(j, d.Name), key(j.at.Region, d.Name), existing(t.present(d), d.Name))
		if r == nil {
			continue
		}
		r.SetAttributeValue("name", cty.StringVal(d.Name))
		text(r, "document_type", d.Type)
		text(r, "document_format", "JSON")
		if err := encoded(r, "content", d.Content); err != nil {
			return err
		}
	}
	if lines := t.unproved(); lines != nil {
		comment(t.file(fileAccess), lines...)
	}
	return nil
}

// accessSection writes the stage of a place that leaves the access set-up behind.
func (s *script) accessSection(at fleet.Place) {
	for _, p := range s.policies() {
		if s.place(fleet.Place{Account: p.Account}) != at {
			continue
		}
		s.put("")
		for _, l := range why(p) {
			s.put("\t# %s", l)
		}
		s.aws(there("EntityAlreadyExists"), "iam", "create-policy", s.createPolicy(p), "")
		for _, h := range holders(p) {
			s.aws("soon ", "iam", h.call(), h.input(policyARN(at, p.Name)), "")
		}
	}
	for _, d := range s.sessionDocuments() {
		if s.place(d.At) != at {
			continue
		}
		s.put("\n\t# %s", line(d.Why))
		if s.present(d) {
			s.update(d.Name, d.Content)
			continue
		}
		c := sessionDocument(d)
		c.Tags = s.tags()
		s.aws(there("DocumentAlreadyExists"), "ssm", "create-document", c, "")
	}
	for _, l := range s.unproved() {
		s.put("\t# %s", l)
	}
}

func (d *documents) access() error {
	if d.Access == nil {
		return nil
	}
	d.steps = append(d.steps, indexStep{Stage: stageAccess, Title: "The access set-up that stays", Document: []indexFile{}, After: d.unproved()})
	for _, p := range d.policies() {
		j := job{at: d.place(fleet.Place{Account: p.Account})}
		if err := d.put(j, "iam create-policy", d.createPolicy(p), "iam", p.Name, "create-policy"); err != nil {
			return err
		}
		for _, h := range holders(p) {
			if err := d.put(j, "iam "+h.call(), h.input(policyARN(j.at, p.Name)), "iam", p.Name, h.call()+"-"+h.name); err != nil {
				return err
			}
		}
	}
	for _, x := range d.sessionDocuments() {
		call, v := "ssm create-document", any(sessionDocument(x))
		if d.present(x) {
			call, v = "", json.RawMessage(x.Content) // two calls change it: the second takes the version that the first made
		}
		if err := d.put(job{at: d.place(x.At)}, call, v, "ssm", x.Name); err != nil {
			return err
		}
	}
	return nil
}
