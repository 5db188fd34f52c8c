package readiness

import "ssm-migrate/internal/fleet"

// Words of ssm:DescribeInstanceInformation and ssm:GetConnectionStatus.
// Source: AWS Systems Manager API Reference.
const (
	pingOnline         = "Online"
	pingConnectionLost = "ConnectionLost"
	pingInactive       = "Inactive"
	statusConnected    = "connected"
	statusNotConnected = "notconnected"
)

// node judges what Systems Manager says of the host, and so what needs no
// further proof.
func (j *judge) node() {
	node, connection := j.h.Node, j.h.Connection
	if !node.Known {
		j.add("node-unknown", j.h.ID, "", evidence(node, "whether it is a managed node is not known%s", because(node.Reason)))
		return
	}
	n := node.Value
	link := connection.Value
	if !connection.Known {
		link = ""
	}
	switch {
	case !n.Registered:
		j.symptom = true
		j.add("node-not-registered", j.h.ID, "", evidence(node, "Systems Manager listed its managed nodes in full, and the instance is not among them"))
	case n.PingStatus == pingOnline:
		j.heartbeat = true
		j.online(link, connection)
	case n.PingStatus != pingConnectionLost && n.PingStatus != pingInactive:
		j.add("node-unknown", j.h.ID, "", evidence(node, "PingStatus is %s", quoted(n.PingStatus)))
	case link == statusConnected:
		j.add("node-disagreement", j.h.ID, "", j.lastPing(), evidence(connection, "connection status is connected"))
	default:
		j.symptom = true
		j.add("node-connection-lost", j.h.ID, "", j.lastPing())
	}
}

func (j *judge) online(link string, connection fleet.Fact[string]) {
	switch link {
	case statusConnected:
		j.connected = true
	case statusNotConnected:
		j.symptom = true
		j.add("node-not-connected", j.h.ID, "", j.lastPing(), evidence(connection, "connection status is notconnected"))
	default:
		reason := connection.Reason
		if connection.Known {
			reason = "the answer was " + quoted(connection.Value)
		}
		j.add("connection-unknown", j.h.ID, "", j.lastPing(), evidence(connection, "connection status is not known%s", because(reason)))
	}
}

func (j *judge) lastPing() fleet.Evidence {
	n := j.h.Node.Value
	if n.LastPing.IsZero() {
		return evidence(j.h.Node, "PingStatus is %s", quoted(n.PingStatus))
	}
	return evidence(j.h.Node, "PingStatus is %s, last heartbeat %s", quoted(n.PingStatus), n.LastPing.UTC().Format("2006-01-02 15:04:05Z"))
}
