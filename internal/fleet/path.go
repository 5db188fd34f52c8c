package fleet

import "time"

// Path is the way of a TCP connection from a host to port 443 of one AWS
// endpoint, as computed from what AWS lists. Hosts whose ways are the same in
// every hop share one Path.
type Path struct {
	Service  string `json:"service"`            // "ssm", "ssmmessages", "ec2messages", "s3", "kms", "logs"
	Name     string `json:"name"`               // DNS name that the agent asks for
	Endpoint string `json:"endpoint,omitempty"` // VPC endpoint that the name leads to; empty: the public one, or not known
	Open     Truth  `json:"open"`
	// Hops are what the connection has to pass, in the order in which it meets
	// them; after one that stops it, none follow. The hop that decides Open is
	// the first whose Passes is TruthNo, else the first that is TruthUnknown.
	Hops []Hop `json:"hops"`
}

// Stop is the hop that decides a path which is not open; ok is false when all
// hops are known to let the connection pass.
func (p Path) Stop() (stop Hop, ok bool) {
	for _, want := range []Truth{TruthNo, TruthUnknown} {
		for _, h := range p.Hops {
			if h.Passes == want {
				return h, true
			}
		}
	}
	return Hop{}, false
}

// Hop is one thing that a connection has to pass.
type Hop struct {
	Kind   string    `json:"kind"`             // "dns", "security group", "network ACL, out", "network ACL, in", "network ACL, answers out", "network ACL, answers in", "route table", "internet gateway", "NAT gateway", "peering", "transit gateway", "firewall", "endpoint", "endpoint policy", ...
	Object string    `json:"object,omitempty"` // its ID
	Text   string    `json:"text"`             // what it does to the connection
	Passes Truth     `json:"passes"`
	Source string    `json:"source"`
	At     time.Time `json:"at,omitzero"`
}
