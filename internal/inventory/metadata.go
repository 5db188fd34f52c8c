package inventory

import (
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

const (
	metadataAddress = "169.254.169.254"
	metadataServer  = "EC2ws" // the Server header of EC2's own
)

func (p *parser) metadata() {
	s, ok := p.frame["endpoints"]
	m, asked := s.first("metadata")
	switch {
	case !ok || !asked:
		p.probe.Metadata = fleet.Unknown[fleet.MetadataTest](sourceMetadata, p.at, p.missing)
		return
	case m.field(0) == "none":
		p.probe.Metadata = fleet.Unknown[fleet.MetadataTest](sourceMetadata, p.at, "no curl on the host")
		return
	}
	t := fleet.MetadataTest{Tokens: m.field(0) == "yes"}
	for _, tag := range []string{"token", "role", "region"} {
		r, _ := s.first(tag)
		if status, err := strconv.Atoi(r.field(0)); err == nil && status >= 100 && status <= 999 {
			t.Reachable, t.Status = true, status
		}
		if server := r.field(1); server != "" {
			t.Server = server
		}
		if words := r.field(2); words != "" && t.Detail == "" {
			t.Detail = words
		}
		switch value := r.field(3); {
		case value == "" || len(value) > 64:
		case tag == "role":
			t.Role = value
		case tag == "region" && strings.Count(value, "-") >= 2:
			t.Region = value
		}
	}
	p.probe.Metadata = fleet.Known(t, sourceMetadata, p.at)
}
