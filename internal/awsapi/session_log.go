package awsapi

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssm-migrate/internal/fleet"
)

// log looks for the session's log where the preferences want it. An object in
// S3 is named by the prefix and the session's ID, a stream in CloudWatch Logs by
// the ID (amazon-ssm-agent, agent/session/plugins/shell/shell.go).
func (v *SessionProver) log(ctx context.Context, p *fleet.Proof) {
	place, err := v.Sessions.at(ctx, p.Host.Place())
	if err != nil {
		return
	}
	in, err := place.preferences.get(ctx, func() (fleet.SessionInputs, error) { return place.readPreferences(ctx) })
	if err != nil || in.Bucket == "" && in.LogGroup == "" {
		return
	}
	wait := v.LogWait
	if wait == 0 {
		wait = logWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var names []string
	var all []fleet.Truth
	if in.Bucket != "" {
		key := path.Join(in.Prefix, p.Session+".log")
		names = append(names, "s3://"+in.Bucket+"/"+key)
		all = append(all, arrives(ctx, func() (bool, error) { return place.objectThere(ctx, in.Bucket, key) }))
	}
	if in.LogGroup != "" {
		names = append(names, in.LogGroup+":"+p.Session)
		all = append(all, arrives(ctx, func() (bool, error) { return place.streamThere(ctx, in.LogGroup, p.Session) }))
	}
	p.LogObject = clean(strings.Join(names, ", "))
	p.Log = fleet.TruthYes
	for _, one := range all {
		if one == fleet.TruthNo || one == fleet.TruthUnknown && p.Log == fleet.TruthYes {
			p.Log = one
		}
	}
}

// readPreferences reads what the account's preferences say; without any, the zero value.
func (p *sessionPlace) readPreferences(ctx context.Context) (fleet.SessionInputs, error) {
	out, err := (&Region{account: p.account, name: p.region, ssm: p.ssm}).document(ctx, fleet.PreferencesName)
	var absent *types.InvalidDocument
	if errors.As(err, &absent) {
		return fleet.SessionInputs{}, nil
	}
	if err != nil {
		return fleet.SessionInputs{}, err
	}
	return fleet.ParseSessionDocument(aws.ToString(out.Content))
}

// arrives asks until it is there, with growing pauses, for as long as ctx lasts:
// no only if the last answer was no.
func arrives(ctx context.Context, look func() (bool, error)) fleet.Truth {
	pause := 500 * time.Millisecond
	last := fleet.TruthUnknown
	for {
		there, err := look()
		switch {
		case there:
			return fleet.TruthYes
		case err == nil:
			last = fleet.TruthNo
		case ctx.Err() == nil:
			return fleet.TruthUnknown // denied, or no such place: a repetition tells no more
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return last
		case <-t.C:
		}
		pause = min(2*pause, 4*time.Second)
	}
}

func (p *sessionPlace) objectThere(ctx context.Context, bucket, key string) (bool, error) {
	// The bucket may be in another Region; S3 says so.
	region, err := (&Region{account: p.account, name: p.region, s3: p.s3}).bucketRegion(ctx, bucket)
	if err != nil {
		region = p.region
	}
	out, err := p.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &key, MaxKeys: aws.Int32(1)}, func(o *s3.Options) { o.Region = region })
	if err != nil {
		return false, err
	}
	for _, o := range out.Contents {
		if aws.ToString(o.Key) == key {
			return true, nil
		}
	}
	return false, nil
}

func (p *sessionPlace) streamThere(ctx context.Context, group, stream string) (bool, error) {
	out, err := p.logs.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: &group, LogStreamNamePrefix: &stream, Limit: aws.Int32(1)})
	if err != nil {
		return false, err
	}
	for _, s := range out.LogStreams {
		if aws.ToString(s.LogStreamName) == stream {
			return true, nil
		}
	}
	return false, nil
}
