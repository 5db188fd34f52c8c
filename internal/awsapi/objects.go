package awsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	apiListObjects  = "s3:ListBucket"
	apiPutObject    = "s3:PutObject"
	apiGetObject    = "s3:GetObject"
	apiDeleteObject = "s3:DeleteObject"
)

// Objects keeps objects in one bucket for a short while: what copies between
// machines pass through. Its methods may run concurrently.
type Objects struct {
	// Bucket and Region say where the objects are.
	Bucket, Region string

	account *Account
	s3      *s3.Client
	presign *s3.PresignClient
	plain   *http.Client
}

// OpenObjects finds a bucket with the first access that may: that to the
// account with an ID goes before the others.
func OpenObjects(ctx context.Context, accounts []*Account, id, bucket string) (*Objects, error) {
	var errs []error
	open := func(a *Account) *Objects {
		region, err := a.Cloud(a.config.Region).bucketRegion(ctx, bucket)
		if err != nil {
			errs = append(errs, fmt.Errorf("access %s: %w", a.Label(), a.failure(apiBucketLocation, err)))
			return nil
		}
		cfg, signs := a.configFor(region), a.config.Copy() // what is signed is no call: it is not paced and counted
		signs.Region = region
		options := func(o *s3.Options) {
			o.UsePathStyle = o.BaseEndpoint != nil
			// A checksum in a presigned URL would be that of an empty body.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
		return &Objects{
			Bucket: bucket, Region: region, account: a, s3: s3.NewFromConfig(cfg, options), presign: s3.NewPresignClient(s3.NewFromConfig(signs, options)),
			// Parts take as long as the line needs, not as calls may.
			plain: (&sessionPlace{config: cfg}).channelClient(),
		}
	}
	first := slices.IndexFunc(accounts, func(a *Account) bool {
		who, err := a.whoami(ctx)
		return err == nil && who.id == id
	})
	if first >= 0 {
		if o := open(accounts[first]); o != nil {
			return o, nil
		}
	}
	for i, a := range accounts {
		if i == first {
			continue
		}
		if o := open(a); o != nil {
			return o, nil
		}
	}
	return nil, fmt.Errorf("find bucket %s: %w", bucket, errors.Join(errs...))
}

// StoredObject is an object of the bucket.
type StoredObject struct {
	Key      string
	Size     int64
	Modified time.Time
}

// maxObjects bounds a list: a copy has at most some thousands.
const maxObjects = 100_000

// List gives the objects whose keys begin with a prefix, in their order.
func (o *Objects) List(ctx context.Context, prefix string) ([]StoredObject, error) {
	var out []StoredObject
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		if len(out) > maxObjects {
			return nil, fmt.Errorf("more than %d objects", maxObjects)
		}
		page, err := o.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &o.Bucket, Prefix: &prefix, ContinuationToken: token})
		if err != nil {
			return nil, err
		}
		for _, in := range page.Contents {
			out = append(out, StoredObject{Key: aws.ToString(in.Key), Size: aws.ToInt64(in.Size), Modified: utc(in.LastModified)})
		}
		return page.NextContinuationToken, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", o.Bucket, o.account.failure(apiListObjects, err))
	}
	return out, nil
}

// Delete removes an object; that there is none is no error.
func (o *Objects) Delete(ctx context.Context, key string) error {
	if _, err := o.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &o.Bucket, Key: &key}); err != nil {
		return fmt.Errorf("delete an object of bucket %s: %w", o.Bucket, o.account.failure(apiDeleteObject, err))
	}
	return nil
}

// PutURL is a URL by which whoever has it may put the object, until it expires
// or the credentials do that signed it.
func (o *Objects) PutURL(ctx context.Context, key string, expires time.Duration) (string, error) {
	r, err := o.presign.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &o.Bucket, Key: &key}, s3.WithPresignExpires(expires))
	if err != nil {
		return "", fmt.Errorf("sign a URL: %w", o.account.failure(apiPutObject, err))
	}
	return r.URL, nil
}

// GetURL is PutURL for reading the object.
func (o *Objects) GetURL(ctx context.Context, key string, expires time.Duration) (string, error) {
	r, err := o.presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &o.Bucket, Key: &key}, s3.WithPresignExpires(expires))
	if err != nil {
		return "", fmt.Errorf("sign a URL: %w", o.account.failure(apiGetObject, err))
	}
	return r.URL, nil
}

// How a part is carried: tries, and how long one may take. 64 MiB in ten
// minutes are 110 kB/s.
const (
	partTries   = 4
	partTimeout = 10 * time.Minute
	partExpires = 15 * time.Minute
)

// Put stores an object.
func (o *Objects) Put(ctx context.Context, key string, data []byte) error {
	_, err := o.carry(ctx, http.MethodPut, key, data, 0)
	if err != nil {
		return fmt.Errorf("%s to bucket %s: %w", apiPutObject, o.Bucket, err)
	}
	return nil
}

// Get reads an object of at most so many bytes.
func (o *Objects) Get(ctx context.Context, key string, most int64) ([]byte, error) {
	data, err := o.carry(ctx, http.MethodGet, key, nil, most)
	if err != nil {
		return nil, fmt.Errorf("%s from bucket %s: %w", apiGetObject, o.Bucket, err)
	}
	return data, nil
}

// carry makes one request by a presigned URL, again where that may help. The
// URL is in no error.
func (o *Objects) carry(ctx context.Context, method, key string, data []byte, most int64) ([]byte, error) {
	pause := time.Second
	for try := 1; ; try++ {
		got, again, err := o.once(ctx, method, key, data, most)
		if err == nil || !again || try == partTries || ctx.Err() != nil {
			return got, err
		}
		if !rest(ctx, pause) {
			return nil, ctx.Err()
		}
		pause *= 2
	}
}

func (o *Objects) once(ctx context.Context, method, key string, data []byte, most int64) (_ []byte, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	sign := o.GetURL
	if method == http.MethodPut {
		sign = o.PutURL
	}
	signed, err := sign(ctx, key, partExpires)
	if err != nil {
		return nil, false, err
	}
	r, err := http.NewRequestWithContext(ctx, method, signed, bytes.NewReader(data))
	if err != nil {
		return nil, false, errors.New("the presigned URL is none")
	}
	answer, err := o.plain.Do(r)
	if err != nil {
		return nil, true, withoutURL(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end, or given up
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
		return nil, answer.StatusCode >= 500, fmt.Errorf("S3 answered %d: %s", answer.StatusCode, clean(string(text)))
	}
	got, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	switch {
	case err != nil:
		return nil, true, withoutURL(err)
	case method == http.MethodGet && int64(len(got)) > most:
		return nil, false, fmt.Errorf("the object has more than %d bytes", most)
	}
	return got, false, nil
}

// withoutURL is what a request failed of, without its URL: that is as good as a password.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}
