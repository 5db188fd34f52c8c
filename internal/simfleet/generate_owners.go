package simfleet

import (
	"maps"
	"strings"
)

// markOwners gives what team web has the tags of the code that it comes from:
// its security groups and its role are Terraform's, the Auto Scaling groups with
// their templates and instances are of one CloudFormation stack for each VPC.
func (w *World) markOwners() {
	terraform := map[string]string{"ManagedBy": "Terraform", "repo": "infra-web"}
	for _, a := range w.Accounts {
		for _, r := range a.Roles {
			if r.Name == "web" {
				r.Tags = withTags(r.Tags, terraform)
			}
		}
		for _, rg := range a.Regions {
			rg.markOwners(a.ID, terraform)
		}
	}
}

func (rg *Region) markOwners(account string, terraform map[string]string) {
	for _, g := range rg.Groups {
		if strings.HasSuffix(g.Name, "-web") {
			g.Tags = withTags(g.Tags, terraform)
		}
	}
	stacks := map[string]map[string]string{} // by name of the Auto Scaling group, or its template
	for _, g := range rg.Scaling {
		i := strings.LastIndex(g.Name, "-web-")
		if i < 0 {
			continue
		}
		stack := g.Name[:i] + "-web"
		stacks[g.Name] = map[string]string{
			"aws:cloudformation:stack-name": stack,
			"aws:cloudformation:stack-id":   "arn:aws:cloudformation:" + rg.Name + ":" + account + ":stack/" + stack + "/" + uniqueID("", stack+rg.Name),
			"aws:cloudformation:logical-id": "Group" + g.Name[i+len("-web-"):],
		}
		g.Tags = withTags(g.Tags, stacks[g.Name])
	}
	for _, t := range rg.Templates {
		rg.setTags(t.ID, stacks[t.Name])
	}
	for _, in := range rg.Instances {
		if tags := stacks[in.Host.AutoScalingGroup]; tags != nil {
			in.Host.Tags = withTags(in.Host.Tags, tags)
		}
	}
}

func withTags(tags, more map[string]string) map[string]string {
	out := maps.Clone(more)
	maps.Copy(out, tags)
	return out
}
