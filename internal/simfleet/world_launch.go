package simfleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// How long parts of a machine's life take, as EC2's instances of the usual
// types do it: seconds to a quarter of a minute.
const (
	untilRunning    = 8 * time.Second  // from the launch until EC2 says "running"
	untilSSH        = 20 * time.Second // until sshd answers
	untilAgent      = 25 * time.Second // until the agent registers
	untilConsole    = 40 * time.Second // until the console's text can be had without asking for the latest
	untilTerminated = 20 * time.Second
	untilStopped    = 15 * time.Second
	untilForgotten  = time.Hour // after which EC2 no longer lists a terminated instance
)

// takes is how long AWS's own work takes in this world.
func (w *World) takes(d time.Duration) time.Duration {
	if w.pace == 0 {
		return d
	}
	return time.Duration(float64(d) / w.pace)
}

// launchSpec is what a new instance is made from.
type launchSpec struct {
	region  *Region
	version fleet.TemplateVersion
	data    LaunchData
	subnet  *fleet.Subnet
	tags    map[string]string
	group   *fleet.ScalingGroup // nil: launched alone
	ref     fleet.LaunchTemplateRef
	role    Role
}

// errCapacity is EC2's answer while Region.NoCapacity is set.
var errCapacity = &apiError{500, "InsufficientInstanceCapacity", "We currently do not have sufficient capacity in the Availability Zone you requested. Our system will be working on provisioning additional capacity."}

// launch makes an instance that comes up by itself. The caller holds w.Mu for
// writing.
func (w *World) launch(q launchSpec) (*Instance, error) {
	rg, v := q.region, q.version
	if rg.NoCapacity {
		return nil, errCapacity
	}
	os, ok := w.systemOf(rg, v.ImageID)
	if !ok {
		return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", v.ImageID)
	}
	profile, err := rg.profileNamed(v.Profile)
	if err != nil {
		return nil, err
	}
	groups, err := rg.launchGroups(v.Groups, q.subnet.VPC)
	if err != nil {
		return nil, err
	}
	var key string
	if v.KeyName != "" {
		k := find(rg.KeyPairs, func(k *fleet.KeyPair) bool { return k.Name == v.KeyName })
		if k == nil {
			return nil, refuse("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", v.KeyName)
		}
		key = k.PublicKey
	}
	addr := w.freeAddress(rg, q.subnet)
	if !addr.IsValid() {
		return nil, refuse("InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.")
	}
	id := w.newID("i")
	seed := sha256.Sum256(fmt.Append(nil, w.Seed, " host key ", id))
	in := &Instance{Region: rg, Role: q.role, OS: os, HostKey: seed[:], Down: true, lifecycle: "Pending"}
	h := &in.Host
	*h = fleet.Host{
		ID: id, Account: rg.Account.ID, Region: rg.Name, AZ: q.subnet.AZ, State: "pending", Platform: platformDetails(os.Family), ImageID: v.ImageID,
		InstanceType: cmp.Or(q.data.InstanceType, "t3.micro"), LaunchTime: w.Now().UTC().Truncate(time.Second), VPC: q.subnet.VPC, Subnet: q.subnet.ID, PrivateIP: addr,
		Groups: groups, ProfileARN: profile, LaunchTemplate: q.ref, KeyName: v.KeyName, Tags: map[string]string{},
		Metadata: fleet.MetadataOptions{Endpoint: cmp.Or(v.Metadata.Endpoint, "enabled"), Tokens: cmp.Or(v.Metadata.Tokens, "optional"), HopLimit: cmp.Or(v.Metadata.HopLimit, 1)},
	}
	maps.Copy(h.Tags, q.data.Tags)
	maps.Copy(h.Tags, q.tags)
	h.Architecture = architectureOf(h.InstanceType)
	if public := q.data.PublicIP; public != nil && *public || public == nil && rg.mapsPublicIPs(q.subnet) {
		h.PublicIP = w.freePublic()
	}
	dashed := strings.ReplaceAll(addr.String(), ".", "-")
	h.PrivateDNS = "ip-" + dashed + "." + rg.Name + ".compute.internal"
	if rg.Name == "us-east-1" {
		h.PrivateDNS = "ip-" + dashed + ".ec2.internal"
	}
	in.Hostname = "ip-" + dashed
	h.Interfaces = []fleet.NetworkInterface{{ID: w.newID("eni"), Subnet: h.Subnet, PrivateIP: addr, PublicIP: h.PublicIP, Groups: groups}}
	in.inside(w.Now().Add(w.takes(untilAgent)), key, v.UserData, q.data.UserData)
	if q.group == nil {
		in.lifecycle = ""
	} else {
		h.AutoScalingGroup = q.group.Name
		h.Tags["aws:autoscaling:groupName"] = q.group.Name
	}
	if q.ref.ID != "" {
		h.Tags["aws:ec2launchtemplate:id"], h.Tags["aws:ec2launchtemplate:version"] = q.ref.ID, q.ref.Version
	}
	rg.Instances = append(slices.Clone(rg.Instances), in)
	w.firstBoot(in)
	return in, nil
}

// inside is what the image and cloud-init make of the machine, whose agent, if
// any, comes up then.
func (in *Instance) inside(agent time.Time, key string, data bool, text string) {
	if data && text == "" {
		text = userData
	}
	decoded, _ := base64.StdEncoding.DecodeString(text)
	keys := cloudConfigKeys(string(decoded))
	if key != "" {
		keys = append([]string{key}, keys...)
	}
	in.SSHD = SSHD{Match: map[string][]Setting{}}
	if in.OS.Family != "windows" {
		in.SSHD.Settings = []Setting{{"PasswordAuthentication", "no"}, {"KbdInteractiveAuthentication", "no"}, {"UsePAM", "yes"}, {"X11Forwarding", "yes"}}
		in.Users = []*User{{Name: "root", Home: "/root", Shell: "/bin/bash", Sudo: true}}
		for _, k := range keys {
			blocked := fmt.Sprintf(`no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"%s\" rather than the user \"root\".';echo;sleep 10;exit 142" %s`, in.OS.User, k)
			in.Users[0].Keys = append(in.Users[0].Keys, blocked)
		}
		in.Users = append(in.Users, &User{Name: in.OS.User, UID: 1000, Home: "/home/" + in.OS.User, Shell: "/bin/bash", Sudo: true, Keys: keys})
		if w := in.Region.Account.world; in.Role == "bastion" && w != nil && w.healthy { // made from an image that lets the operator in
			in.Users = append(in.Users, &User{Name: OperatorUser, UID: 1001, Home: "/home/" + OperatorUser, Shell: "/bin/bash", Sudo: true, Keys: []string{w.OperatorLine(in)}})
		}
	}
	// AWS's images of these systems have the agent. Source: Systems Manager
	// User Guide, AMIs with the agent preinstalled.
	if slices.Contains([]string{"amzn", "ubuntu", "sles", "windows"}, in.OS.Family) {
		in.Agent = Agent{Installed: true, Package: packageOf(in.OS.Family), Version: agentCurrent, Enabled: true, Started: agent}
	}
	in.Machine = Machine{SSMUser: SSMUserAbsent, CloudInitKeys: strings.Contains(string(decoded), "always")}
}

// cloudConfigKeys reads the list ssh_authorized_keys at the top level of
// cloud-init's user data.
func cloudConfigKeys(text string) []string {
	if !strings.HasPrefix(text, "#cloud-config") {
		return nil
	}
	var out []string
	in := false
	for line := range strings.Lines(text) {
		item, isItem := strings.CutPrefix(strings.TrimSpace(line), "- ")
		switch {
		case strings.HasPrefix(line, "ssh_authorized_keys:"):
			in = true
		case in && isItem:
			item = strings.TrimSpace(item)
			var text string
			if json.Unmarshal([]byte(item), &text) != nil { // what is in double quotes reads like JSON
				text = strings.Trim(item, `"'`)
			}
			out = append(out, text)
		case strings.TrimSpace(line) != "":
			in = false
		}
	}
	return out
}

// firstBoot lets a launched instance come up: running, then sshd, then the agent.
func (w *World) firstBoot(in *Instance) {
	w.moves.Add(1)
	now := w.Now()
	w.run(in, now)
	w.at(now.Add(w.takes(untilSSH)), "sshd of "+in.Host.ID, func() { in.Down = in.Down && !in.alive() })
	if in.Agent.startsAtBoot() {
		w.at(now.Add(w.takes(untilAgent)), "agent of "+in.Host.ID, func() {
			if in.alive() {
				in.Agent.start(now.Add(w.takes(untilAgent)))
			}
		})
	}
}

// run makes a pending instance a running one, some time from now on.
func (w *World) run(in *Instance, now time.Time) {
	w.at(now.Add(w.takes(untilRunning)), "instance "+in.Host.ID+" running", func() {
		if in.Host.State != "pending" {
			return
		}
		in.Host.State = "running"
		if in.lifecycle == "Pending" {
			in.lifecycle = ""
		}
	})
}

// alive reports whether the instance is on its way up or runs.
func (in *Instance) alive() bool { return in.Host.State == "pending" || in.Host.State == "running" }

// systemOf is what an image holds: one of the systems that the world knows, or
// what another instance of the image runs.
func (w *World) systemOf(rg *Region, image string) (OS, bool) {
	if rg.Deregistered[image] {
		return OS{}, false
	}
	for _, name := range slices.Sorted(maps.Keys(systemNamed)) {
		if imageID(rg.Name, name) == image {
			return systemNamed[name], true
		}
	}
	if in := find(rg.Instances, func(in *Instance) bool { return in.Host.ImageID == image }); in != nil {
		return in.OS, true
	}
	return OS{}, false
}

// profileNamed finds an instance profile by ARN or name and gives its ARN.
func (rg *Region) profileNamed(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	p := find(rg.Account.Profiles, func(p *fleet.InstanceProfile) bool { return p.ARN == name || p.Name == name })
	if p == nil {
		return "", refuse("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", name)
	}
	return p.ARN, nil
}

func (rg *Region) launchGroups(ids []string, vpc string) ([]string, error) {
	for _, id := range ids {
		if find(rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id && g.VPC == vpc }) == nil {
			return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist in VPC '%s'", id, vpc)
		}
	}
	if len(ids) > 0 {
		return slices.Clone(ids), nil
	}
	if g := rg.defaultGroup(vpc); g != nil {
		return []string{g.ID}, nil
	}
	return nil, refuse("VPCIdNotSpecified", "No default group for VPC %s", vpc)
}

// architectureOf tells Graviton by the g behind the generation: "t4g.medium".
func architectureOf(kind string) string {
	family, _, _ := strings.Cut(kind, ".")
	if i := strings.IndexAny(family, "0123456789"); i >= 0 && strings.Contains(family[i:], "g") {
		return "arm64"
	}
	return "x86_64"
}

// mapsPublicIPs reports whether instances in the subnet get a public address:
// those of public subnets do.
func (rg *Region) mapsPublicIPs(s *fleet.Subnet) bool {
	if !s.CIDR.IsValid() {
		return false
	}
	r := rg.route(s.VPC, s.ID, netip.AddrFrom4([4]byte{8, 8, 8, 8}))
	return r != nil && strings.HasPrefix(r.Target, "igw-")
}

// terminate ends an instance: it shuts down, is terminated, and is forgotten.
func (w *World) terminate(in *Instance) {
	if in.Host.State == "terminated" || in.Host.State == "shutting-down" {
		return
	}
	rg := in.Region
	w.moves.Add(1)
	w.shutDown(in)
	in.Host.State = "shutting-down"
	if in.Host.AutoScalingGroup != "" {
		in.lifecycle = "Terminating"
		if g := find(rg.Scaling, func(g *fleet.ScalingGroup) bool { return g.Name == in.Host.AutoScalingGroup }); g != nil {
			rg.scalingOf(g).role = in.Role
		}
	}
	w.at(w.Now().Add(w.takes(untilTerminated)), "instance "+in.Host.ID+" terminated", func() {
		h := &in.Host
		h.State, h.PrivateIP, h.PublicIP, h.PrivateDNS, h.Interfaces, h.ProfileARN = "terminated", netip.Addr{}, netip.Addr{}, "", nil, ""
		w.moves.Add(1)
		if g := rg.scalingNamed(h.AutoScalingGroup); g != nil {
			g.Instances = slices.DeleteFunc(slices.Clone(g.Instances), func(id string) bool { return id == h.ID })
			w.settleDeletion(rg, g)
		}
	})
	w.at(w.Now().Add(untilForgotten), "instance "+in.Host.ID+" forgotten", func() {
		rg.Instances = slices.DeleteFunc(slices.Clone(rg.Instances), func(x *Instance) bool { return x == in })
	})
}

// ErrNotScaled says that an instance belongs to no Auto Scaling group.
var ErrNotScaled = errors.New("the instance belongs to no Auto Scaling group")

// Replace does what an Auto Scaling group does to an unhealthy instance: it is
// terminated, and another comes up from the group's template. It takes w.Mu
// by itself.
func (w *World) Replace(in *Instance) error {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	g := in.Region.scalingNamed(in.Host.AutoScalingGroup)
	if g == nil || !slices.Contains(g.Instances, in.Host.ID) {
		return fmt.Errorf("%s: %w", in.Host.ID, ErrNotScaled)
	}
	w.terminate(in)
	w.reconcile(in.Region, g)
	return nil
}
