package inventory

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

const maxFilesystems = 64

func (p *parser) health() {
	s, ok := p.frame["health"]
	if !ok {
		p.probe.Health = fleet.Unknown[fleet.Health](sourceHealth, p.at, p.missing)
		return
	}
	var h fleet.Health
	h.Filesystems = p.filesystems(s)
	if r, ok := s.first("inotify"); ok {
		h.Inotify = fleet.Inotify{MaxInstances: atoi(r.field(0)), MaxWatches: atoi(r.field(1)), UsedInstances: atoi(r.field(2))}
		if p.probe.Root && r.field(2) == "" {
			p.gap("inotify", "the host has no grep to count root's instances with")
		}
	}
	h.Clock = p.clock()
	const source = "probe: certificate bundle"
	switch r, _ := s.first("roots"); r.field(0) {
	case "yes", "no":
		h.TrustStore = fleet.Known(r.field(0) == "yes", source, p.at)
	default:
		h.TrustStore = fleet.Unknown[bool](source, p.at, r.field(1))
	}
	p.probe.Health = fleet.Known(h, sourceHealth, p.at)
}

// filesystems joins what df says of space and of inodes with the mount table.
func (p *parser) filesystems(s section) []fleet.Filesystem {
	space, ok := s.first("space")
	if !ok {
		p.gap("file systems", "the host has no df")
		return nil
	}
	if code := space.field(0); code == "124" {
		p.gap("file systems", "df gave no answer in 5 seconds")
	}
	var list []fleet.Filesystem
	find := func(mount string) *fleet.Filesystem {
		i := slices.IndexFunc(list, func(f fleet.Filesystem) bool { return f.Mount == mount })
		if i < 0 {
			return nil
		}
		return &list[i]
	}
	for _, l := range space.lines {
		d, ok := parseDF(l)
		if !ok || find(d.mount) != nil || len(list) == maxFilesystems {
			continue
		}
		list = append(list, fleet.Filesystem{Mount: d.mount, Size: kilobytes(d.total), Free: kilobytes(d.free)})
	}
	inodes, _ := s.first("inodes")
	for _, l := range inodes.lines {
		if d, ok := parseDF(l); ok {
			if f := find(d.mount); f != nil {
				f.Inodes, f.FreeInodes = d.total, d.free
			}
		}
	}
	mounts, _ := s.first("mounts")
	for _, l := range mounts.lines {
		w := strings.Fields(l)
		if len(w) != 3 {
			continue
		}
		if f := find(clean(w[0])); f != nil { // a later mount hides an earlier one
			f.Type, f.Options = clean(w[1]), strings.Split(clean(w[2]), ",")
		}
	}
	if len(list) == 0 {
		p.gap("file systems", "df's answer is not understood")
	}
	return list
}

// dfLine is one line of "df -P".
type dfLine struct {
	mount       string
	total, free int64
}

// parseDF reads a line of "df -P -k" or "df -P -i": device, total, used,
// available, capacity, mount point. The device and the mount point may hold
// blanks; the capacity, "12%" or "-", stands behind three numbers.
func parseDF(line string) (dfLine, bool) {
	w := strings.Fields(line)
	for i := 4; i < len(w)-1; i++ {
		if w[i] != "-" && !strings.HasSuffix(w[i], "%") {
			continue
		}
		total, err1 := strconv.ParseInt(w[i-3], 10, 64)
		_, err2 := strconv.ParseInt(w[i-2], 10, 64)
		free, err3 := strconv.ParseInt(w[i-1], 10, 64)
		mount := clean(strings.Join(w[i+1:], " "))
		if err1 != nil || err2 != nil || err3 != nil || total < 0 || !strings.HasPrefix(mount, "/") {
			continue
		}
		return dfLine{mount: mount, total: total, free: max(free, 0)}, true
	}
	return dfLine{}, false
}

func kilobytes(n int64) int64 { return min(n, 1<<52) << 10 }

// clock compares the host's clock with an answer whose sender can be trusted: an
// endpoint's over verified TLS, else the metadata service's own.
func (p *parser) clock() fleet.Clock {
	s := p.frame["endpoints"]
	var metadata fleet.Clock
	for _, r := range s.all("clock") {
		host := hostTime(r.field(1), "")
		server, err := time.Parse(time.RFC1123, r.field(2)) // RFC 9110's IMF-fixdate
		if _, ok := sane(server); err != nil || !ok || host.IsZero() {
			continue
		}
		c := fleet.Clock{Host: host, Server: server.UTC(), Source: r.field(0)}
		if c.Source != metadataAddress {
			return c
		}
		if token, _ := s.first("token"); token.field(1) == metadataServer {
			metadata = c
		}
	}
	return metadata
}
