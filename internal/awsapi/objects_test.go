package awsapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// storage is a simulated S3 with a bucket in another Region than the access's
// own, and a clock that a test may set forward.
type storage struct {
	*awsapi.Objects
	world *simfleet.World
	ahead time.Duration
}

const testBucket = "copies"

func newStorage(t *testing.T, faults *simfleet.Faults) *storage {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: 3, Instances: 3, Healthy: true})
	if err != nil {
		t.Fatal(err)
	}
	regions := w.Accounts[0].Regions
	there := regions[len(regions)-1]
	there.Buckets = append(there.Buckets, &fleet.Bucket{Name: testBucket, Exists: true, Region: there.Name})
	s := &storage{world: w}
	server := httptest.NewServer(simfleet.ServeAWS(w, simfleet.AWSOptions{
		NoThrottle: true, Secret: "secret", Faults: faults, Clock: func() time.Time { return time.Now().Add(s.ahead) },
	}))
	t.Cleanup(server.Close)
	isolate(t, server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", simfleet.AccessKey(w.Accounts[0].ID))
	account, err := awsapi.Open(context.Background(), awsapi.Access{Regions: []string{regions[0].Name}}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Objects, err = awsapi.OpenObjects(context.Background(), []*awsapi.Account{account}, w.Accounts[0].ID, testBucket); err != nil {
		t.Fatal(err)
	}
	if s.Region != there.Name {
		t.Fatalf("the bucket is said to be in %s, not in %s", s.Region, there.Name)
	}
	return s
}

// do makes a request as a host would.
func do(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(got)
}

func TestPresignedURLsOpenOneObjectForAWhile(t *testing.T) {
	s := newStorage(t, nil)
	ctx := t.Context()
	put, err := s.PutURL(ctx, "p/a b+c/000000", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	get, err := s.GetURL(ctx, "p/a b+c/000000", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, text := do(t, http.MethodPut, put, "content"); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, text)
	}
	if status, text := do(t, http.MethodGet, get, ""); status != http.StatusOK || text != "content" {
		t.Errorf("get: %d %q", status, text)
	}
	if status, text := do(t, http.MethodGet, get, "", "Range", "bytes=3-5"); status != http.StatusPartialContent || text != "ten" {
		t.Errorf("a range: %d %q", status, text)
	}
	if status, _ := do(t, http.MethodGet, get, "", "Range", "bytes=7-"); status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %d", status)
	}
	for name, c := range map[string]struct{ method, url string }{
		"another object":    {http.MethodGet, strings.Replace(get, "000000", "000001", 1)},
		"another method":    {http.MethodPut, get},
		"a longer validity": {http.MethodGet, strings.Replace(get, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)},
		"no signature":      {http.MethodGet, get[:strings.IndexByte(get, '?')]},
	} {
		if status, text := do(t, c.method, c.url, "x"); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	s.ahead = 2 * time.Minute
	if status, text := do(t, http.MethodGet, get, ""); status != http.StatusForbidden || !strings.Contains(text, "Request has expired") {
		t.Errorf("expired: %d %s", status, text)
	}
	s.ahead = -20 * time.Minute
	if status, _ := do(t, http.MethodGet, get, ""); status != http.StatusForbidden {
		t.Errorf("not valid yet: %d", status)
	}
}

func TestObjectsAreStoredListedAndDeleted(t *testing.T) {
	s := newStorage(t, nil)
	ctx := t.Context()
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	for key, data := range map[string][]byte{"p/one": []byte("1"), "p/two": large, "q/three": nil} {
		if err := s.Put(ctx, key, data); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List(ctx, "p/")
	if err != nil || len(list) != 2 || list[0].Key != "p/one" || list[1].Size != int64(len(large)) || list[0].Modified.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if got, err := s.Get(ctx, "p/two", int64(len(large))); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := s.Get(ctx, "p/two", 100); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("an object that is larger than it should be: %v", err)
	}
	if _, err := s.Get(ctx, "p/none", 100); err == nil || !strings.Contains(err.Error(), "NoSuchKey") || strings.Contains(err.Error(), "X-Amz") {
		t.Errorf("an object that is not there: %v", err)
	}
	for range 2 { // the second time there is none, which is no error
		if err := s.Delete(ctx, "p/one"); err != nil {
			t.Error(err)
		}
	}
	if keys := s.world.ObjectKeys(testBucket); len(keys) != 2 {
		t.Errorf("%q are left", keys)
	}
}

func TestObjectsTellWhatIsDenied(t *testing.T) {
	faults := &simfleet.Faults{}
	s := newStorage(t, faults)
	ctx := t.Context()
	faults.Set(simfleet.Fault{Service: "s3", Kind: simfleet.FaultDeny})
	_, errList := s.List(ctx, "p/")
	_, errGet := s.Get(ctx, "p/a", 1)
	for name, err := range map[string]error{"s3:ListBucket": errList, "s3:PutObject": s.Put(ctx, "p/a", nil), "s3:GetObject": errGet, "s3:DeleteObject": s.Delete(ctx, "p/a")} {
		if err == nil || strings.Contains(err.Error(), "X-Amz") || !strings.Contains(strings.ToLower(err.Error()), "denied") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoErrorHoldsAURL(t *testing.T) {
	s := newStorage(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Put(ctx, "p/a", []byte("x"))
	if err == nil || strings.Contains(err.Error(), "http") {
		t.Errorf("error %v", err)
	}
}
