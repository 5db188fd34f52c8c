package simfleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// SessionLog is the log of a session where the preferences want it: an object
// of a bucket, or a stream of a log group.
type SessionLog struct {
	Session string
	Bucket  string // empty: it is a stream
	Group   string
	Name    string // key of the object, or name of the stream
	Content string
	Stored  time.Time
}

// storeLog puts the session's log where it should be, as far as the agent may
// and gets there. The caller holds World.Mu for writing.
func (ls *liveSession) storeLog() {
	w, in, p := ls.server.w, ls.inst, ls.spec.inputs
	ls.logMu.Lock()
	text := ls.log.String()
	ls.logMu.Unlock()
	if ls.spec.kind == kindPort || text == "" {
		return
	}
	log := SessionLog{Session: ls.record.ID, Content: text, Stored: w.Now().UTC()}
	group := find(in.Region.LogGroups, func(g *fleet.LogGroup) bool { return g.Name == p.LogGroup && g.Exists })
	if p.LogGroup != "" && group != nil && w.streamReason(in, p) == "" {
		l := log
		l.Group, l.Name = p.LogGroup, ls.record.ID
		in.Region.SessionLogs = append(in.Region.SessionLogs, &l)
	}
	if p.Bucket != "" && w.objectReason(in, p) == "" {
		l := log
		l.Bucket, l.Name = p.Bucket, logKey(p, ls.record.ID)
		// The bucket may be another account's: objects are kept where it is.
		rg := w.bucketRegion(p.Bucket)
		rg.SessionLogs = append(rg.SessionLogs, &l)
	}
}

// bucketRegion gives the Region of the account that owns a bucket, which
// exists.
func (w *World) bucketRegion(name string) *Region {
	for _, a := range w.Accounts {
		for _, rg := range a.Regions {
			if find(rg.Buckets, func(b *fleet.Bucket) bool { return b.Name == name && b.Exists }) != nil {
				return rg
			}
		}
	}
	return nil
}

type objectInfo struct {
	Key      string `xml:"Key"`
	Modified string `xml:"LastModified"`
	ETag     string `xml:"ETag"`
	Size     int    `xml:"Size"`
	Class    string `xml:"StorageClass"`
}

func objectOf(o *storedObject) objectInfo {
	return objectInfo{o.name, o.stored.Format("2006-01-02T15:04:05.000Z"), fmt.Sprintf("%q", o.tag), len(o.content), "STANDARD"}
}

func listObjects(c *call) (any, error) {
	if err := c.bucketHere(); err != nil {
		return nil, err
	}
	rows := c.w.objects(c.name, c.form.Get("prefix"))
	after := cmp.Or(c.form.Get("continuation-token"), c.form.Get("start-after"))
	rows = filter(rows, func(o *storedObject) bool { return o.name > after })
	most := 1000
	if _, err := fmt.Sscan(c.form.Get("max-keys"), &most); err != nil || most < 0 || most > 1000 {
		most = 1000
	}
	next := ""
	if len(rows) > most {
		rows = rows[:most]
		if most > 0 {
			next = rows[most-1].name
		}
	}
	return encodeREST(c, "ListBucketResult", struct {
		Name      string       `xml:"Name"`
		Prefix    string       `xml:"Prefix"`
		Count     int          `xml:"KeyCount"`
		Most      int          `xml:"MaxKeys"`
		Truncated bool         `xml:"IsTruncated"`
		Next      string       `xml:"NextContinuationToken,omitempty"`
		Contents  []objectInfo `xml:"Contents"`
	}{c.name, c.form.Get("prefix"), len(rows), most, next != "", next, mapped(rows, objectOf)})
}

func (c *call) logStreams(group string) ([]*SessionLog, error) {
	if find(c.region.LogGroups, func(g *fleet.LogGroup) bool { return g.Name == group && g.Exists }) == nil {
		return nil, refuse("ResourceNotFoundException", "The specified log group does not exist.")
	}
	out := filter(c.region.SessionLogs, func(l *SessionLog) bool { return l.Bucket == "" && l.Group == group })
	slices.SortFunc(out, func(a, b *SessionLog) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func describeLogStreams(c *call) (any, error) {
	var in struct {
		Group      string `json:"logGroupName"`
		Identifier string `json:"logGroupIdentifier"`
		Prefix     string `json:"logStreamNamePrefix"`
		Token      string `json:"nextToken"`
		Limit      *int   `json:"limit"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	group := cmp.Or(in.Group, in.Identifier[strings.LastIndex(in.Identifier, ":")+1:])
	rows, err := c.logStreams(group)
	if err != nil {
		return nil, err
	}
	rows = filter(rows, func(l *SessionLog) bool { return strings.HasPrefix(l.Name, in.Prefix) })
	rows, next, err := jsonPage(c, rows, in.Limit, in.Token, 50, "InvalidParameterException", "InvalidParameterException")
	type stream struct {
		Name    string `json:"logStreamName"`
		ARN     string `json:"arn"`
		Created int64  `json:"creationTime"`
		First   int64  `json:"firstEventTimestamp"`
		Last    int64  `json:"lastEventTimestamp"`
		Taken   int64  `json:"lastIngestionTime"`
	}
	return struct {
		Streams []stream `json:"logStreams"`
		Next    string   `json:"nextToken,omitempty"`
	}{mapped(rows, func(l *SessionLog) stream {
		at := l.Stored.UnixMilli()
		return stream{l.Name, c.logGroupARN(group) + ":log-stream:" + l.Name, at, at, at, at}
	}), next}, err
}

// getLogEvents gives a stream's lines, all at once.
func getLogEvents(c *call) (any, error) {
	var in struct {
		Group  string `json:"logGroupName"`
		Stream string `json:"logStreamName"`
		Token  string `json:"nextToken"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	rows, err := c.logStreams(in.Group)
	if err != nil {
		return nil, err
	}
	l := find(rows, func(l *SessionLog) bool { return l.Name == in.Stream })
	if l == nil {
		return nil, refuse("ResourceNotFoundException", "The specified log stream does not exist.")
	}
	type event struct {
		At    int64  `json:"timestamp"`
		Text  string `json:"message"`
		Taken int64  `json:"ingestionTime"`
	}
	events := []event{}
	if in.Token == "" {
		for line := range strings.Lines(l.Content) {
			events = append(events, event{l.Stored.UnixMilli(), strings.TrimRight(line, "\r\n"), l.Stored.UnixMilli()})
		}
	}
	return map[string]any{"events": events, "nextForwardToken": "f/end", "nextBackwardToken": "b/end"}, nil
}
