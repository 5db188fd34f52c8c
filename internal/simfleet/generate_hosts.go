package simfleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// share is one kind of thing and how many of a hundred hosts or so have it.
type share struct {
	kind   string
	weight int
}

// deal hands each of n hosts one kind, in shuffled order and in proportion:
// a small fleet gets its share of every trouble as well as a large one.
func deal(r *rand.Rand, n int, shares []share) []string {
	weights := make([]int, len(shares))
	for i, s := range shares {
		weights[i] = s.weight
	}
	var out []string
	for i, count := range split(n, weights) {
		out = append(out, slices.Repeat([]string{shares[i].kind}, count)...)
	}
	r.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// tiers come in an order in which rounding favors the rare ones a little.
var tiers = []share{{"windows", 5}, {"web", 40}, {"edge", 3}, {"app", 22}, {"ci", 5}, {"db", 15}, {"worker", 10}}

// tierSystems and tierRoles say what a tier's hosts run and which role they have.
var (
	tierSystems = map[string][]string{
		"bastion": {"al2023"}, "windows": {"win2019", "win2022"}, "web": {"al2023", "ubuntu22", "ubuntu24"}, "edge": {"alpine"},
		"app": {"ubuntu20", "ubuntu22", "ubuntu24", "debian12", "rhel9", "al2023"}, "ci": {"ubuntu22", "debian12"},
		"db": {"rhel8", "rhel9", "sles15", "al2"}, "worker": {"al2", "al2023", "ubuntu22"},
		"legacy": {"al2", "ubuntu20", "rhel8", "debian12", "sles15"},
	}
	tierRoles = map[string]string{
		"bastion": "bastion", "windows": "app", "web": "web", "edge": "app-only", "app": "app", "ci": "ci-runner", "db": "db", "worker": "scoped", "legacy": "legacy-ssm",
	}
	tierGroups = map[string]string{
		"bastion": "bastion", "windows": "windows", "web": "web", "edge": "app", "app": "app", "ci": "ci", "db": "db", "worker": "app",
	}
)

// placed is an instance together with the VPC that it was put into.
type placed struct {
	*Instance
	vpc    *vpcBuilder
	subnet *fleet.Subnet
}

func (b *regionBuilder) populate(n int) {
	var weights []int
	for _, v := range b.vpcs {
		weights = append(weights, v.spec.weight)
	}
	shares := tiers
	if b.healthy {
		shares = healthyTiers
	}
	tierOf := deal(b.rand, n, shares)
	var all []placed
	for i, count := range split(n, weights) {
		v := b.vpcs[i]
		mine := tierOf[:count]
		tierOf = tierOf[count:]
		if count > 1 && v.spec.kind != isPublic && v.spec.kind != isIsolated && b.bastions {
			mine = append([]string{"bastion"}, mine[1:]...)
		}
		numbers := map[string]int{}
		first := len(all)
		for _, tier := range mine {
			numbers[tier]++
			all = append(all, b.place(v, tier, numbers[tier]))
		}
		if numbers["bastion"] == 0 && v.spec.kind != isPublic {
			b.vpn(v, all[first:])
		}
	}
	b.scalingGroups(all)
	if b.healthy {
		for _, p := range all {
			b.healthyAgent(p.Instance)
		}
		b.healthyAccess(all)
	} else {
		b.agents(all)
		b.access(all)
	}
	for _, p := range all {
		b.Instances = append(b.Instances, p.Instance)
	}
}

// place makes one instance of a tier: address, groups, role, image.
func (b *regionBuilder) place(v *vpcBuilder, tier string, number int) placed {
	r := b.rand
	subnets, look := v.private, tier
	if tier == "bastion" || v.spec.kind == isPublic {
		subnets = v.public
	}
	if v.spec.kind == isPublic && tier != "windows" && tier != "edge" {
		look = "legacy"
	}
	subnet := subnets[number%len(subnets)]
	systems, role := tierSystems, tierRoles[look]
	if b.healthy {
		systems, look, role = healthySystems, tier, tier
	}
	system := pick(r, systems[look])
	in := &Instance{Region: b.Region, Role: Role(tier), OS: systemNamed[system], HostKey: randomBytes(r, 32)}
	in.Host = fleet.Host{
		ID: b.id(r, "i"), Account: b.Account.ID, Region: b.Name, AZ: subnet.AZ, State: "running", Architecture: "x86_64",
		Platform: platformDetails(in.OS.Family), ImageID: imageID(b.Name, system), InstanceType: pick(r, []string{"t3.micro", "t3.small", "m6i.large", "c6i.xlarge"}),
		LaunchTime: b.base.Add(-time.Duration(24+r.IntN(700*24)) * time.Hour), VPC: v.vpc.ID, Subnet: subnet.ID, PrivateIP: v.nextAddr(subnet),
		ProfileARN: b.profile(role), Metadata: fleet.MetadataOptions{Endpoint: "enabled", Tokens: "optional", HopLimit: 1},
		Tags: map[string]string{"Name": fmt.Sprintf("%s-%s-%02d", v.spec.name, tier, number), "env": "prod", "team": teamOf(tier)},
	}
	h := &in.Host
	if system == "al2023" && r.IntN(3) == 0 {
		h.Architecture, h.InstanceType = "arm64", "t4g.medium"
		in.OS.Kernel = strings.Replace(in.OS.Kernel, "x86_64", "aarch64", 1)
	}
	if system == "al2023" || r.IntN(2) == 0 {
		h.Metadata.Tokens, h.Metadata.HopLimit = "required", 2
	}
	h.Groups = []string{v.groups[tierGroups[tier]]}
	if slices.Contains(v.public, subnet) {
		h.PublicIP = b.nextPublic()
	}
	if v.spec.kind == isPublic {
		h.Groups = []string{v.groups[pick(r, []string{"old-ssh", "office-ssh"})], v.groups["web"]}
	}
	dashed := strings.ReplaceAll(h.PrivateIP.String(), ".", "-")
	h.PrivateDNS = "ip-" + dashed + "." + b.Name + ".compute.internal"
	if b.Name == "us-east-1" {
		h.PrivateDNS = "ip-" + dashed + ".ec2.internal"
	}
	in.Hostname = h.Tags["Name"]
	if tier == "web" {
		in.Hostname = "ip-" + dashed
	}
	h.Interfaces = []fleet.NetworkInterface{{ID: b.id(r, "eni"), Subnet: h.Subnet, PrivateIP: h.PrivateIP, PublicIP: h.PublicIP, Groups: h.Groups}}
	h.KeyName = b.KeyPairs[1+r.IntN(len(b.KeyPairs)-1)].Name
	if tier == "bastion" {
		h.KeyName = b.KeyPairs[0].Name
	}
	p := placed{Instance: in, vpc: v, subnet: subnet}
	if b.healthy {
		b.healthyPlace(p)
	}
	return p
}

func teamOf(tier string) string {
	switch tier {
	case "web", "edge":
		return "web"
	case "db", "worker":
		return "data"
	}
	return "platform"
}

func (b *regionBuilder) profile(role string) string {
	for _, p := range b.Account.Profiles {
		if p.Name == role {
			return p.ARN
		}
	}
	panic("simfleet: no instance profile " + role)
}

func (b *regionBuilder) keyPairs() {
	for _, p := range []struct{ name, key, kind string }{
		{"bastion-2025", "ed25519", "ed25519"}, {"ops-2021", "rsa2048", "rsa"}, {"web-2023", "ed25519", "ed25519"}, {"legacy-2017", "rsa2048", "rsa"},
	} {
		k := makeKey(b.rand, p.key, p.name)
		b.KeyPairs = append(b.KeyPairs, &fleet.KeyPair{ID: b.id(b.rand, "key"), Name: p.name, Type: p.kind, PublicKey: k.line()})
	}
}

// groupSize is the most instances that a generated Auto Scaling group has.
const groupSize = 40

// scalingGroups ties the web tiers, and the first bastion, to Auto Scaling groups.
func (b *regionBuilder) scalingGroups(all []placed) {
	for _, v := range b.vpcs {
		var web, bastions []placed
		for _, p := range all {
			switch {
			case p.vpc != v:
			case p.Role == "web" && v.spec.kind != isPublic:
				web = append(web, p)
			case p.Role == "bastion" && (v.spec.kind == viaEndpoints || b.healthy):
				bastions = append(bastions, p)
			}
		}
		for i, chunk := range slices.Collect(slices.Chunk(web, groupSize)) {
			b.scalingGroup(fmt.Sprintf("%s-web-%d", v.spec.name, i+1), chunk, v.private, v.spec.kind == viaNAT && i == 0 && !b.healthy)
		}
		if len(bastions) > 0 {
			b.scalingGroup(v.spec.name+"-bastion", bastions, v.public, false)
		}
	}
}

func (b *regionBuilder) scalingGroup(name string, members []placed, subnets []*fleet.Subnet, byConfig bool) {
	g := &fleet.ScalingGroup{Name: name, Min: len(members) / 2, Max: len(members)*2 + 1, Desired: len(members), Tags: map[string]string{"Name": name}}
	for _, s := range subnets {
		g.Subnets = append(g.Subnets, s.ID)
	}
	model := members[0].Host
	v := fleet.TemplateVersion{Number: 3, ImageID: model.ImageID, Profile: model.ProfileARN, KeyName: model.KeyName, Groups: model.Groups, UserData: true, Metadata: model.Metadata}
	if byConfig {
		g.Config = name + "-2019"
		b.Configs = append(b.Configs, &LaunchConfig{Name: g.Config, Version: v})
	} else {
		if b.healthy {
			// A template that names a key pair brings SSH access back with each new instance.
			v.Number, v.UserData, v.KeyName = 1, false, ""
		}
		old := v
		old.Number, old.ImageID, old.UserData = 1, imageID(b.Name, "al2"), false
		newer := v
		newer.Number = 2
		t := &fleet.LaunchTemplate{ID: b.id(b.rand, "lt"), Name: name, Default: 1, Latest: 3, Versions: []fleet.TemplateVersion{old, newer, v}}
		if b.healthy {
			t.Latest, t.Versions = 1, []fleet.TemplateVersion{v}
		}
		b.Templates = append(b.Templates, t)
		g.Template = fleet.LaunchTemplateRef{ID: t.ID, Version: strconv.FormatInt(t.Latest, 10)}
	}
	b.Scaling = append(b.Scaling, g)
	for _, p := range members {
		h := &p.Host
		g.Instances = append(g.Instances, h.ID)
		h.ImageID, h.ProfileARN, h.KeyName, h.Metadata = model.ImageID, model.ProfileARN, model.KeyName, model.Metadata
		h.InstanceType, h.Architecture, h.AutoScalingGroup, h.LaunchTemplate = model.InstanceType, model.Architecture, name, g.Template
		p.OS = members[0].OS
		h.Tags["Name"] = name
		h.Tags["aws:autoscaling:groupName"] = name
		if g.Template.ID != "" {
			h.Tags["aws:ec2launchtemplate:id"], h.Tags["aws:ec2launchtemplate:version"] = g.Template.ID, g.Template.Version
		}
	}
}
