package simfleet

import (
	"net/http"
	"net/url"
	"strings"

	"ssm-migrate/internal/fleet"
)

var s3Operations = map[string]operation{
	"HeadBucket":          headBucket,
	"GetBucketLocation":   getBucketLocation,
	"GetBucketEncryption": getBucketEncryption,
	"GetBucketPolicy":     getBucketPolicy,
	"ListObjectsV2":       listObjects,
	"HeadObject":          headObject,
	"GetObject":           getObject,
}

// objectKey is where a request for an object has its key, among the
// parameters; no client sends one of that name.
const objectKey = "\x00key"

// bucketAction reads a path-style request for a bucket or an object of one.
func bucketAction(method, path string, query url.Values) (action, bucket string) {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case bucket == "":
		return "", bucket
	case object != "":
		query.Set(objectKey, object)
		return map[string]string{
			http.MethodHead: "HeadObject", http.MethodGet: "GetObject", http.MethodPut: "PutObject", http.MethodDelete: "DeleteObject",
		}[method], bucket
	case method == http.MethodHead:
		return "HeadBucket", bucket
	case method != http.MethodGet:
		return "", bucket
	case query.Has("location"):
		return "GetBucketLocation", bucket
	case query.Has("encryption"):
		return "GetBucketEncryption", bucket
	case query.Has("policy"):
		return "GetBucketPolicy", bucket
	case query.Get("list-type") == "2":
		return "ListObjectsV2", bucket
	}
	return "", bucket
}

// bucket finds a bucket of the world by its name, which is global, with the
// account that it belongs to.
func (w *World) bucket(name string) (*Account, *fleet.Bucket) {
	for _, a := range w.Accounts {
		for _, rg := range a.Regions {
			if b := find(rg.Buckets, func(b *fleet.Bucket) bool { return b.Name == name && b.Exists }); b != nil {
				return a, b
			}
		}
	}
	return nil, nil
}

// ownBucket is the request's bucket. Another account's is refused; elsewhere
// is true for one of another Region than the request went to.
func (c *call) ownBucket() (b *fleet.Bucket, elsewhere bool, err error) {
	owner, b := c.w.bucket(c.name)
	switch {
	case b == nil:
		return nil, false, &apiError{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"}
	case owner != c.account:
		return nil, false, &apiError{http.StatusForbidden, "AccessDenied", "Access Denied"}
	}
	return b, b.Region != c.region.Name, nil
}

func permanentRedirect() error {
	return &apiError{http.StatusMovedPermanently, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."}
}

// headBucket answers by status and headers alone, errors included: a HEAD
// request's answer has no body. The Region's header comes with a refusal too.
func headBucket(c *call) (any, error) {
	owner, b := c.w.bucket(c.name)
	if b == nil {
		return reply{status: http.StatusNotFound, kind: kindXML}, nil
	}
	r := reply{kind: "application/xml", header: map[string]string{"x-amz-bucket-region": b.Region}}
	switch {
	case owner != c.account:
		r.status = http.StatusForbidden
	case b.Region != c.region.Name:
		r.status = http.StatusMovedPermanently
	}
	return r, nil
}

// getBucketLocation names the Region; us-east-1 is the empty one.
func getBucketLocation(c *call) (any, error) {
	b, _, err := c.ownBucket()
	if err != nil {
		return nil, err
	}
	region := b.Region
	if region == "us-east-1" {
		region = ""
	}
	return encodeREST(c, "LocationConstraint", region)
}

func getBucketEncryption(c *call) (any, error) {
	b, elsewhere, err := c.ownBucket()
	switch {
	case err != nil:
		return nil, err
	case elsewhere:
		return nil, permanentRedirect()
	case b.Encryption == "":
		return nil, &apiError{http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"}
	}
	type byDefault struct {
		Algorithm string `xml:"SSEAlgorithm"`
		Key       string `xml:"KMSMasterKeyID,omitempty"`
	}
	type rule struct {
		Default byDefault `xml:"ApplyServerSideEncryptionByDefault"`
		Bucket  bool      `xml:"BucketKeyEnabled"`
	}
	type configuration struct {
		Rule rule `xml:"Rule"`
	}
	return encodeREST(c, "ServerSideEncryptionConfiguration", configuration{rule{Default: byDefault{b.Encryption, b.Key}}})
}

// getBucketPolicy answers with the document itself.
func getBucketPolicy(c *call) (any, error) {
	b, elsewhere, err := c.ownBucket()
	switch {
	case err != nil:
		return nil, err
	case elsewhere:
		return nil, permanentRedirect()
	case b.Policy == "":
		return nil, &apiError{http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist"}
	}
	return reply{kind: "application/json", body: []byte(b.Policy)}, nil
}
