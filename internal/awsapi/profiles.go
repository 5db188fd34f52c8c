package awsapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

// Profile is a profile of the shared AWS configuration.
type Profile struct {
	Name   string
	Region string // empty: it names none
	Role   string // ARN of the role that it assumes; empty: none
	SSO    bool   // it signs in through IAM Identity Center
}

// Limits of what is read of the shared configuration. People write it, programs
// do, and somebody else may have.
const (
	maxSharedFile = 4 << 20
	maxProfiles   = 500
	maxProfile    = 128 // bytes of a name
)

// Profiles lists the profiles of the shared configuration and credentials files,
// "default" first, the others by name. Files that are missing have none. A file that
// cannot be read is an error, beside which what the other one has is given.
func Profiles(ctx context.Context) ([]Profile, error) {
	files := []struct{ variable, path string }{
		{"AWS_CONFIG_FILE", config.DefaultSharedConfigFilename()},
		{"AWS_SHARED_CREDENTIALS_FILE", config.DefaultSharedCredentialsFilename()},
	}
	var paths [2]string
	var names []string
	var errs []error
	for i, f := range files {
		paths[i] = f.path
		if v := os.Getenv(f.variable); v != "" {
			paths[i] = v
		}
		text, err := readShared(paths[i])
		if err != nil {
			errs = append(errs, err)
		}
		names = append(names, profileNames(text, i == 0)...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if i := slices.Index(names, "default"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "default")
	}
	if len(names) > maxProfiles {
		errs = append(errs, fmt.Errorf("the shared AWS configuration has %d profiles: only %d are looked at", len(names), maxProfiles))
		names = names[:maxProfiles]
	}
	out := make([]Profile, 0, len(names))
	for _, n := range names {
		p := Profile{Name: n}
		shared, err := config.LoadSharedConfigProfile(ctx, n, func(o *config.LoadSharedConfigOptions) {
			o.ConfigFiles, o.CredentialsFiles = paths[:1], paths[1:]
		})
		if err == nil { // a broken one shows when it is used, with the SDK's own words
			p.Region, p.Role = clean(shared.Region), clean(shared.RoleARN)
			p.SSO = shared.SSOSessionName != "" || shared.SSOStartURL != ""
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

func readShared(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSharedFile {
		return nil, fmt.Errorf("read the AWS configuration: %s is no regular file of at most %d bytes", clean(path), maxSharedFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSharedFile))
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	return text, nil
}

// profileNames reads the section lines: in the configuration file "[profile x]"
// and "[default]", in the credentials file "[x]". Sections of other kinds, and
// names with which no tool could do anything, are left out.
func profileNames(text []byte, configuration bool) []string {
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxSharedFile)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if !strings.HasPrefix(line, "[") {
			continue
		}
		name, _, ok := strings.Cut(line[1:], "]")
		name = strings.TrimSpace(name)
		if !ok {
			continue
		}
		if configuration && name != "default" {
			kind, rest, _ := strings.Cut(strings.ReplaceAll(name, "\t", " "), " ")
			if kind != "profile" {
				continue
			}
			name = strings.TrimSpace(rest)
		}
		if name != "" && len(name) <= maxProfile && utf8.ValidString(name) && clean(name) == name {
			out = append(out, name)
		}
	}
	return out
}

// RegionUse says whether a Region has instances.
type RegionUse struct {
	Name      string
	Instances fleet.Truth
	Reason    string // why it is unknown
}

// regionsAtOnce bounds the calls of UsedRegions that are under way.
const regionsAtOnce = 8

// UsedRegions tells of each of the account's Regions whether it has instances that
// are not terminated. It makes one call in each. The result is in the order of Regions.
func (a *Account) UsedRegions(ctx context.Context) []RegionUse {
	out := make([]RegionUse, len(a.regions))
	turn := make(chan struct{}, regionsAtOnce)
	var waiting sync.WaitGroup
	for i, name := range a.regions {
		turn <- struct{}{}
		waiting.Go(func() {
			defer func() { <-turn }()
			out[i] = a.usedRegion(ctx, name)
		})
	}
	waiting.Wait()
	return out
}

func (a *Account) usedRegion(ctx context.Context, name string) RegionUse {
	u := RegionUse{Name: name}
	client := ec2.NewFromConfig(a.configFor(name))
	in := &ec2.DescribeInstancesInput{
		Filters:    []types.Filter{{Name: aws.String("instance-state-name"), Values: liveStates}},
		MaxResults: aws.Int32(5), // the least that EC2 takes
	}
	for { // EC2 may give an empty page with a token
		page, err := client.DescribeInstances(ctx, in)
		switch {
		case err != nil:
			u.Reason = a.failure("ec2:DescribeInstances", err).Error()
			return u
		case len(page.Reservations) > 0:
			u.Instances = fleet.TruthYes
			return u
		case aws.ToString(page.NextToken) == "":
			u.Instances = fleet.TruthNo
			return u
		}
		in.NextToken = page.NextToken
	}
}
