package access

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// foreign is an account that no fleet is in.
const foreign = "999999999999"

// elsewhere gives a Region that is none of those listed.
func elsewhere(regions []string) string {
	for _, r := range []string{"ap-southeast-9", "ap-southeast-8"} {
		if !slices.Contains(regions, r) {
			return r
		}
	}
	return "ap-southeast-7"
}

// plain is a thing without tags.
func plain(arn string, at fleet.Place) thing {
	return thing{arn: arn, host: -1, place: at, broad: true, keys: readiness.Keys{
		"aws:requestedregion": {at.Region}, "aws:resourceaccount": {at.Account}, "aws:resourcetag/": nil, "ssm:resourcetag/": nil,
	}}
}

// phantom is an instance that the fleet does not have, with these tags.
func phantom(at fleet.Place, tags map[string]string) thing {
	h := &fleet.Host{ID: "i-0fffffffffffffff0", Account: at.Account, Region: at.Region, Tags: tags}
	return thing{arn: readiness.InstanceARN(h), host: -1, place: at, tags: tags, keys: readiness.HostKeys(h)}
}

// hosts are the fleet's instances; on those of broad everything is asked for.
func (w *world) hosts(broad func(i int) bool) []thing {
	var out []thing
	for i := range w.snapshot.Hosts {
		h := &w.snapshot.Hosts[i]
		if gone(h) {
			continue
		}
		out = append(out, thing{arn: readiness.InstanceARN(h), host: i, place: h.Ref().Place(), tags: h.Tags, keys: readiness.HostKeys(h), broad: broad(i)})
	}
	return out
}

// others are things of all kinds that nobody is promised unless a promise
// names just them.
func others(partition string, at fleet.Place) []thing {
	arn := func(service, region, account, rest string) thing {
		return plain("arn:"+partition+":"+service+":"+region+":"+account+":"+rest, at)
	}
	out := []thing{
		plain("*", at),
		arn("kms", at.Region, at.Account, "key/00000000-0000-0000-0000-000000000000"),
		arn("logs", at.Region, at.Account, "log-group:another-group"),
		arn("logs", at.Region, at.Account, "log-group:another-group:log-stream:stream"),
		arn("s3", "", "", "another-bucket"),
		arn("s3", "", "", "another-bucket/object"),
		arn("iam", "", at.Account, "role/another-role"),
		arn("iam", "", at.Account, "user/another-user"),
		arn("secretsmanager", at.Region, at.Account, "secret:another-secret-AbCdEf"),
		arn("ssm", at.Region, at.Account, "parameter/another-parameter"),
		arn("ssm", at.Region, at.Account, "managed-instance/mi-0ffffffffffffffff"),
		arn("ssm", at.Region, at.Account, "document/another-document"),
		arn("ssm", at.Region, foreign, "document/"+fleet.PreferencesName),
		arn("ssm", at.Region, "", "document/AWS-RunShellScript"),
		arn("ssm", at.Region, "", "document/AWS-ConfigureAWSPackage"),
	}
	for _, name := range readiness.SessionDocuments() {
		out = append(out, arn("ssm", at.Region, "", "document/"+name))
	}
	return out
}

// mentioning adds witnesses of what a text names and the things do not have yet.
func mentioning(things []thing, text parsed, at fleet.Place) []thing {
	known := map[string]bool{}
	for _, t := range things {
		known[t.arn] = true
	}
	for _, r := range text.resources() {
		if !known[r] {
			things = append(things, plain(r, at))
		}
	}
	return things
}

// matches compares a thing with a pattern in which * stands for any run of characters.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
