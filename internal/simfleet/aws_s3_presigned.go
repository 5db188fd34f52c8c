package simfleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// presignedObject reads the credential scope of a request that is signed in its query
// string, and checks its time, and its signature where the secret is known.
// Source: S3 API reference, sigv4-query-string-auth.
func (s *AWS) presignedObject(r *http.Request) (scope, bool, error) {
	q := r.URL.Query()
	if q.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
		return scope{}, false, nil
	}
	at, ok := credentialScope("Credential=" + q.Get("X-Amz-Credential"))
	signed, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date"))
	seconds, errSeconds := strconv.Atoi(q.Get("X-Amz-Expires"))
	now := s.o.Clock()
	refused := func(code, message string) error { return &apiError{http.StatusForbidden, code, message} }
	switch {
	case !ok || err != nil || errSeconds != nil || seconds < 1 || seconds > 7*24*60*60:
		return at, true, refuse("AuthorizationQueryParametersError", "Error parsing the X-Amz-* parameters")
	case now.Before(signed.Add(-15 * time.Minute)):
		return at, true, refused("AccessDenied", "Request is not valid yet")
	case now.After(signed.Add(time.Duration(seconds) * time.Second)):
		return at, true, refused("AccessDenied", "Request has expired")
	case s.o.Secret != "" && !strings.HasPrefix(at.key, assumedPrefix) && !hmac.Equal([]byte(querySignature(r, q, at, s.o.Secret)), []byte(q.Get("X-Amz-Signature"))):
		return at, true, refused("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	return at, true, nil
}

// querySignature is what the signature of a request has to be.
func querySignature(r *http.Request, q url.Values, at scope, secret string) string {
	var pairs []string
	for name, values := range q {
		for _, v := range values {
			if name != "X-Amz-Signature" {
				pairs = append(pairs, awsEscape(name)+"="+awsEscape(v))
			}
		}
	}
	slices.Sort(pairs)
	names := strings.Split(q.Get("X-Amz-SignedHeaders"), ";")
	var headers strings.Builder
	for _, name := range names {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), strings.Join(pairs, "&"), headers.String(), strings.Join(names, ";"), "UNSIGNED-PAYLOAD"}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	date := q.Get("X-Amz-Date")
	within := date[:8] + "/" + at.region + "/" + at.service + "/aws4_request"
	key := []byte("AWS4" + secret)
	for _, part := range append(strings.Split(within, "/"), "AWS4-HMAC-SHA256\n"+date+"\n"+within+"\n"+hex.EncodeToString(digest[:])) {
		h := hmac.New(sha256.New, key)
		_, _ = h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// awsEscape is the URI encoding of signatures: everything but unreserved characters.
func awsEscape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
