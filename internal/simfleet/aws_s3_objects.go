package simfleet

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what S3's entity tags are made of
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// storedObject is an object of a bucket. It is replaced as a whole, never changed.
type storedObject struct {
	name    string
	content []byte
	stored  time.Time
	tag     string
}

// maxObject bounds one object: what is larger has to come in parts.
const maxObject = 80 << 20

var s3Changes = map[string]operation{
	"PutObject":    putObject,
	"DeleteObject": deleteObject,
}

// objects are the objects of a bucket whose keys begin with a prefix, in the
// order of keys: what was put there, and session logs.
func (w *World) objects(bucket, prefix string) []*storedObject {
	rg := w.bucketRegion(bucket)
	if rg == nil {
		return nil
	}
	out := filter(rg.stored[bucket], func(o *storedObject) bool { return strings.HasPrefix(o.name, prefix) })
	out = slices.Clone(out)
	for _, l := range rg.SessionLogs {
		if l.Bucket == bucket && strings.HasPrefix(l.Name, prefix) {
			out = append(out, &storedObject{name: l.Name, content: []byte(l.Content), stored: l.Stored, tag: uniqueID("", l.Name)})
		}
	}
	slices.SortFunc(out, func(a, b *storedObject) int { return strings.Compare(a.name, b.name) })
	return out
}

// ObjectKeys are the keys of a bucket's objects, in order. It takes Mu for reading.
func (w *World) ObjectKeys(bucket string) []string {
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	return mapped(w.objects(bucket, ""), func(o *storedObject) string { return o.name })
}

// bucketHere is an error unless the bucket is the caller's own, and in the Region
// that is asked.
func (c *call) bucketHere() error {
	_, elsewhere, err := c.ownBucket()
	switch {
	case err != nil:
		return err
	case elsewhere:
		return permanentRedirect()
	}
	return nil
}

// putObject stores an object, in place of one of the same key.
func putObject(c *call) (any, error) {
	if err := c.bucketHere(); err != nil {
		return nil, err
	}
	sum := md5.Sum(c.json) //nolint:gosec // see above
	o := &storedObject{name: c.form.Get(objectKey), content: c.json, stored: c.w.Now().UTC(), tag: hex.EncodeToString(sum[:])}
	c.forget(o.name)
	rg := c.w.bucketRegion(c.name)
	if rg.stored == nil {
		rg.stored = map[string][]*storedObject{}
	}
	rg.stored[c.name] = append(rg.stored[c.name], o)
	return reply{kind: kindXML, header: map[string]string{"ETag": strconv.Quote(o.tag), "x-amz-server-side-encryption": "AES256"}}, nil
}

// deleteObject removes an object; that there is none is no error.
func deleteObject(c *call) (any, error) {
	if err := c.bucketHere(); err != nil {
		return nil, err
	}
	c.forget(c.form.Get(objectKey))
	return reply{status: http.StatusNoContent, kind: kindXML}, nil
}

func (c *call) forget(key string) {
	rg := c.w.bucketRegion(c.name)
	kept := filter(rg.stored[c.name], func(o *storedObject) bool { return o.name != key })
	if len(kept) != len(rg.stored[c.name]) {
		rg.stored[c.name] = kept
	}
	rg.SessionLogs = filter(rg.SessionLogs, func(l *SessionLog) bool { return l.Bucket != c.name || l.Name != key })
}

// object finds what a request for one object names.
func (c *call) object() (*storedObject, error) {
	if err := c.bucketHere(); err != nil {
		return nil, err
	}
	key := c.form.Get(objectKey)
	if o := find(c.w.objects(c.name, key), func(o *storedObject) bool { return o.name == key }); o != nil {
		return o, nil
	}
	return nil, &apiError{http.StatusNotFound, "NoSuchKey", "The specified key does not exist."}
}

// getObject gives an object, or the one range of it that is asked for.
func getObject(c *call) (any, error) {
	o, err := c.object()
	if err != nil {
		return nil, err
	}
	r := objectReply(o)
	r.body = o.content
	first, last, ranged, err := byteRange(c.ranged, len(o.content))
	switch {
	case err != nil:
		return nil, err
	case ranged:
		r.status, r.body = http.StatusPartialContent, o.content[first:last+1]
		r.header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", first, last, len(o.content))
	}
	return r, nil
}

// byteRange reads a Range header; S3 answers other forms with the whole object.
func byteRange(text string, size int) (first, last int, ranged bool, err error) {
	spec, ok := strings.CutPrefix(text, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, 0, false, nil
	}
	last = size - 1
	if from == "" { // the last so many
		n, err := strconv.Atoi(to)
		if err != nil {
			return 0, 0, false, nil //nolint:nilerr // no range
		}
		first = max(size-n, 0)
	} else if first, err = strconv.Atoi(from); err != nil {
		return 0, 0, false, nil //nolint:nilerr // no range
	} else if n, err := strconv.Atoi(to); err == nil {
		last = min(n, last)
	}
	if first > last || first < 0 {
		return 0, 0, false, &apiError{http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable"}
	}
	return first, last, true, nil
}

// headObject answers by status and headers alone.
func headObject(c *call) (any, error) {
	o, err := c.object()
	if err != nil {
		return reply{status: http.StatusNotFound, kind: kindXML}, nil //nolint:nilerr // a HEAD request's answer has no body
	}
	r := objectReply(o)
	r.header["Content-Length"] = fmt.Sprint(len(o.content))
	return r, nil
}

func objectReply(o *storedObject) reply {
	return reply{kind: "binary/octet-stream", header: map[string]string{"Last-Modified": o.stored.Format(http.TimeFormat), "ETag": strconv.Quote(o.tag), "Accept-Ranges": "bytes"}}
}

// plainBody takes the frames off a body that a client sends in signed or
// checksummed chunks (Content-Encoding: aws-chunked). Source: S3 User Guide,
// sigv4-streaming.
func plainBody(r *http.Request, body []byte) ([]byte, error) {
	if r.Header.Get("X-Amz-Decoded-Content-Length") == "" {
		return body, nil
	}
	var out []byte
	for {
		line, rest, ok := bytes.Cut(body, []byte("\r\n"))
		text, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseUint(text, 16, 31)
		if !ok || err != nil || int(n) > len(rest) {
			return nil, io.ErrUnexpectedEOF
		}
		if n == 0 {
			return out, nil
		}
		out = append(out, rest[:n]...)
		body = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
	}
}
