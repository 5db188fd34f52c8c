package awsapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// ownBody gives every request a body of its own. smithy-go 1.28 closes the
// request's body as soon as the answer's header is there, while net/http may
// still be looking for that body's end; it then meets an error and closes the
// connection under the answer. Calls would succeed only on their retry, as
// often as the endpoint is quick.
type ownBody struct{ client aws.HTTPClient }

func (o ownBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return o.client.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return o.client.Do(r)
}
