package simfleet

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// newID makes an EC2-style ID that the world has not seen. The caller holds
// w.Mu for writing.
func (w *World) newID(prefix string) string { return prefix + "-0" + w.unique(16) }

// unique makes hexadecimal digits, 64 at most, that follow from the world's
// seed and from how many were made before.
func (w *World) unique(digits int) string {
	w.made++
	var out []byte
	for i := 0; len(out) < digits/2+1; i++ {
		h := fnv.New128a()
		_, _ = fmt.Fprint(h, w.Seed, " made ", w.made, " ", i)
		out = h.Sum(out)
	}
	return hex.EncodeToString(out)[:digits]
}

// use is what became of a request with a client token.
type use struct{ request, result string }

// once gives the result of an earlier request with the same client token:
// made is true then. The request must be the same in all its parameters. An
// empty token is none. After the work, call keep with the result.
// Source: Amazon EC2 API reference, ensuring idempotency.
func (c *call) once(token, request string) (result string, made bool, keep func(result string), err error) {
	if token == "" {
		return "", false, func(string) {}, nil
	}
	key := c.account.ID + "/" + c.region.Name + "/" + c.service + ":" + c.action + "/" + token
	if u, ok := c.w.uses[key]; ok {
		if u.request != request {
			return "", false, nil, refuse("IdempotentParameterMismatch", "The client token you have provided is associated with a resource you are already using, with different parameters.")
		}
		return u.result, true, nil, nil
	}
	return "", false, func(result string) {
		if c.w.uses == nil {
			c.w.uses = map[string]use{}
		}
		c.w.uses[key] = use{request, result}
	}, nil
}

// formRequest is all of a query request, to compare two of them by.
func (c *call) formRequest() string { return c.form.Encode() }

// missing refuses a request that lacks one of the parameters.
func (c *call) missing(names ...string) error {
	for _, n := range names {
		if c.form.Get(n) == "" {
			if c.service == "ec2" {
				return refuse("MissingParameter", "The request must contain the parameter %s", n)
			}
			return refuse("ValidationError", "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", n)
		}
	}
	return nil
}

// members gives the prefixes of a list of structures: "IpPermissions.1",
// "IpPermissions.2", as long as any parameter begins with one.
func (c *call) members(name string) []string {
	var out []string
	for i := 1; ; i++ {
		p := name + "." + strconv.Itoa(i)
		if !c.hasPrefix(p + ".") {
			return out
		}
		out = append(out, p)
	}
}

func (c *call) hasPrefix(prefix string) bool {
	for k := range c.form {
		if len(k) > len(prefix) && k[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

// pairs reads a list of tags.
func (c *call) pairs(name string) map[string]string {
	out := map[string]string{}
	for _, p := range c.members(name) {
		out[c.form.Get(p+".Key")] = c.form.Get(p + ".Value")
	}
	return out
}

// specifiedTags gives the tags that a request wants on what it makes of a kind.
func (c *call) specifiedTags(kind string) map[string]string {
	var out map[string]string
	for _, p := range c.members("TagSpecification") {
		if c.form.Get(p+".ResourceType") == kind {
			out = c.pairs(p + ".Tag")
		}
	}
	return out
}

// tagged are the tags of a resource whose own type has none.
func (rg *Region) tagged(id string) map[string]string { return rg.Tags[id] }

// setTags adds tags to a resource whose own type has none.
func (rg *Region) setTags(id string, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	if rg.Tags == nil {
		rg.Tags = map[string]map[string]string{}
	}
	if rg.Tags[id] == nil {
		rg.Tags[id] = map[string]string{}
	}
	maps.Copy(rg.Tags[id], tags)
}

// returned is EC2's answer that says no more than that it was done.
type returned struct {
	OK bool `xml:"return"`
}

func (c *call) securityGroup(id string) (*fleet.SecurityGroup, error) {
	if g := find(c.region.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id }); g != nil {
		return g, nil
	}
	return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
}

func (c *call) instanceNamed(id string) (*Instance, error) {
	if in := find(c.region.Instances, func(in *Instance) bool { return in.Host.ID == id }); in != nil {
		return in, nil
	}
	return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

// madeOf reports whether a name has nothing but ASCII letters and digits and
// the other characters.
func madeOf(name, others string) bool {
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(others, r):
		default:
			return false
		}
	}
	return true
}

func conflict(code, format string, args ...any) *apiError {
	return &apiError{http.StatusConflict, code, fmt.Sprintf(format, args...)}
}
