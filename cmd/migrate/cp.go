package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

// copyConfig is where copies pass through.
type copyConfig struct {
	Bucket string `yaml:"bucket"`
	Prefix string `yaml:"prefix"`
}

// defaultCopyPrefix begins the keys of what is on its way.
const defaultCopyPrefix = "migrate-cp/"

type copyQuery struct {
	from, to  string
	recursive bool
	preserve  bool
	by        string
	as        string
	bucket    string
	prefix    string
	region    string
	clean     bool
	olderThan time.Duration
}

// Ways in which a host gets at the bucket.
const (
	copyByURLs = "urls"
	copyByRole = "role"
)

func (a *app) cpCommand() *cobra.Command {
	var q copyQuery
	c := &cobra.Command{
		Use:   "cp SOURCE DESTINATION",
		Short: "Copy files to, from and between hosts, through an S3 bucket and Run Command",
		Long: `cp copies a file, or with -r a directory, between this machine and a host or between two hosts. A host's
file is HOST:PATH, as with scp; HOST is an instance ID, a Name tag or an address from the latest
snapshot. A path that is not absolute begins in the user's home directory.

The file passes through an S3 bucket (--bucket, or copy: in migrate.yaml) in parts, each under a random key
and deleted as soon as it has arrived. Hosts get presigned URLs, valid for 15 minutes, and need no rights in S3;
they use curl, python3 or wget. --by role has them use the AWS CLI with the rights of their instance role.

A copy that was broken off goes on where it was when the same command is run again. The file appears under
its name at once, when it is whole and its SHA-256 is the source's; before, it lies in a directory .migrate-cp-…
beside it.

Run Command runs as root. --as USER reads and writes as that user, whose home directory then is where relative
paths begin. As root, cp writes only below directories that nobody else may change.

--clean removes from the bucket what copies left that were broken off and never finished.`,
		Example: `  migrate cp backup.tar web-1:/var/tmp/
  migrate cp -p --as alice web-1:notes.txt .
  migrate cp -r web-1:/etc/nginx i-0123456789abcdef0:/root/nginx
  migrate cp --clean --older-than 24h`,
		Args: func(cmd *cobra.Command, args []string) error {
			if q.clean {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.by != copyByURLs && q.by != copyByRole {
				return usageErr("--by %q is none of %s and %s", q.by, copyByURLs, copyByRole)
			}
			if q.as != "" && !fleet.IsUserName(q.as) {
				return usageErr("--as %q is no user name", q.as)
			}
			if q.clean {
				return a.cleanCopies(cmd.Context(), q)
			}
			q.from, q.to = args[0], args[1]
			return a.copy(cmd.Context(), q)
		},
	}
	f := c.Flags()
	f.BoolVarP(&q.recursive, "recursive", "r", false, "copy a directory")
	f.BoolVarP(&q.preserve, "preserve", "p", false, "keep permission bits and the time of modification")
	f.StringVar(&q.by, "by", copyByURLs, "how hosts get at the bucket: urls (presigned), role (AWS CLI)")
	f.StringVar(&q.as, "as", "", "user on the hosts (default root)")
	f.StringVar(&q.bucket, "bucket", "", "S3 bucket to go through (default: copy: bucket in migrate.yaml)")
	f.StringVar(&q.prefix, "prefix", "", "beginning of the keys (default: copy: prefix, or "+defaultCopyPrefix+")")
	f.StringVar(&q.region, "region", "", "where an instance is that no snapshot lists")
	f.BoolVar(&q.clean, "clean", false, "remove what broken-off copies left in the bucket")
	f.DurationVar(&q.olderThan, "older-than", time.Hour, "with --clean: copies that have not moved for so long")
	return c
}

// place fills in what the configuration says of the bucket.
func (q *copyQuery) place(cfg config) error {
	if q.bucket == "" {
		q.bucket = cfg.Copy.Bucket
	}
	if q.prefix == "" {
		q.prefix = cfg.Copy.Prefix
	}
	if q.prefix == "" {
		q.prefix = defaultCopyPrefix
	}
	q.prefix = strings.TrimSuffix(q.prefix, "/") + "/"
	switch {
	case q.bucket == "":
		return usageErr("copies pass through an S3 bucket: name it with --bucket, or in migrate.yaml (copy: bucket: NAME)")
	case q.prefix == "/" || strings.ContainsFunc(q.prefix, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`'"\{}%`, r) }):
		return usageErr("%q cannot begin the keys of a copy", q.prefix)
	}
	return nil
}

// hostPath takes HOST:PATH apart, as scp does: what has a slash before the
// colon is a file of this machine.
func hostPath(spec string) (host, path string, remote bool) {
	host, path, ok := strings.Cut(spec, ":")
	if !ok || host == "" || strings.Contains(host, "/") {
		return "", spec, false
	}
	if path == "" {
		path = "."
	}
	return host, path, true
}

// checkHostPath refuses paths that cannot be told to a host as they are.
func checkHostPath(p string) (string, error) {
	switch {
	case len(p) > 1024:
		return "", usageErr("the path has %d bytes; 1024 is the most", len(p))
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return "", usageErr("the path %q has control characters", p)
	case strings.Contains(p, "{{"):
		return "", usageErr("Run Command would put something in place of {{ in %q", p)
	}
	slash := strings.HasSuffix(p, "/")
	if p = path.Clean(p); !path.IsAbs(p) {
		p = "./" + p
	}
	if slash && p != "/" {
		p += "/"
	}
	return p, nil
}

func (a *app) copy(ctx context.Context, q copyQuery) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := q.place(cfg); err != nil {
		return err
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return err
	}
	commands := awsapi.NewCommands(awsapi.NewChanger(accounts...))
	t := &transfer{query: q}
	account := ""
	for _, side := range []struct {
		spec string
		end  *copyEnd
	}{{q.from, &t.from}, {q.to, &t.to}} {
		host, p, remote := hostPath(side.spec)
		if !remote {
			if p == "" {
				return usageErr("a path is empty")
			}
			abs, err := filepath.Abs(p)
			if err != nil {
				return fmt.Errorf("find %s: %w", p, err)
			}
			if strings.HasSuffix(p, "/") && abs != "/" {
				abs += "/"
			}
			*side.end = &localEnd{path: abs, query: q}
			continue
		}
		if p, err = checkHostPath(p); err != nil {
			return err
		}
		h, err := a.connectHost(ctx, cfg, connectQuery{host: host, region: q.region})
		if err != nil {
			return err
		}
		if h.Windows() {
			return fmt.Errorf("copy to or from %s: the host runs Windows, which cp does not know", h.ID)
		}
		if h.Account == "" {
			if h.Account, err = soleAccount(ctx, accounts); err != nil {
				return err
			}
		}
		if account == "" {
			account = h.Account
		}
		*side.end = &hostEnd{commands: commands, host: h, path: p, query: q}
	}
	if account == "" {
		return usageErr("one of the two has to be HOST:PATH")
	}
	if t.objects, err = awsapi.OpenObjects(ctx, accounts, account, q.bucket); err != nil {
		return err
	}
	for _, end := range []copyEnd{t.from, t.to} {
		switch e := end.(type) {
		case *hostEnd:
			e.objects = t.objects
		case *localEnd:
			e.objects = t.objects
		}
	}
	t.progress = newCopyProgress(a.err)
	done, err := t.run(ctx)
	if err != nil {
		if t.begun {
			err = fmt.Errorf("%w\nRun the same command again to go on; migrate cp --clean removes what is in the bucket", err)
		}
		return err
	}
	if a.json {
		return writeJSON(a.out, done)
	}
	_, err = fmt.Fprintf(a.out, "%s: %s in %s, SHA-256 %s\n", oneLine(done.Destination), bytesText(done.Bytes), done.took.Round(100*time.Millisecond), done.Sum)
	return err
}

// soleAccount is the ID of the only account, for a host that no snapshot lists.
func soleAccount(ctx context.Context, accounts []*awsapi.Account) (string, error) {
	if len(accounts) != 1 {
		return "", errors.New("which account the instance is in is not known: take an inventory")
	}
	arn, err := accounts[0].Caller(ctx)
	if err != nil {
		return "", fmt.Errorf("find the account: %w", err)
	}
	fields := strings.Split(arn, ":")
	if len(fields) < 6 {
		return "", fmt.Errorf("find the account: %q is no ARN", oneLine(arn))
	}
	return fields[4], nil
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// cleanCopies removes copies that have not moved for a while.
func (a *app) cleanCopies(ctx context.Context, q copyQuery) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := q.place(cfg); err != nil {
		return err
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return err
	}
	objects, err := awsapi.OpenObjects(ctx, accounts, "", q.bucket)
	if err != nil {
		return err
	}
	list, err := objects.List(ctx, q.prefix)
	if err != nil {
		return err
	}
	doomed, kept := staleCopies(list, q.prefix, time.Now().Add(-q.olderThan))
	result := struct {
		Bucket  string `json:"bucket"`
		Removed int    `json:"removed"` // objects
		Bytes   int64  `json:"bytes"`
		Kept    int    `json:"kept"` // objects of copies that may be under way, and what is not of a copy
	}{Bucket: q.bucket, Kept: kept}
	for _, o := range doomed {
		if err := objects.Delete(ctx, o.Key); err != nil {
			return err
		}
		result.Removed++
		result.Bytes += o.Size
	}
	if a.json {
		return writeJSON(a.out, result)
	}
	_, err = fmt.Fprintf(a.out, "Removed %d objects (%s) from bucket %s; %d stay.\n", result.Removed, bytesText(result.Bytes), oneLine(q.bucket), result.Kept)
	return err
}

// copyKey is the key of a part: the copy's tag, its random name, the part's number.
var copyKey = regexp.MustCompile(`^([0-9a-f]{16}-[0-9a-f]{32})/[0-9]{6}$`)

// staleCopies are the parts of copies of which no part is newer than a time.
// What does not look like a part is nobody's to remove.
func staleCopies(list []awsapi.StoredObject, prefix string, before time.Time) (stale []awsapi.StoredObject, kept int) {
	newest := map[string]time.Time{}
	copyOf := func(o awsapi.StoredObject) string {
		m := copyKey.FindStringSubmatch(strings.TrimPrefix(o.Key, prefix))
		if m == nil {
			return ""
		}
		return m[1]
	}
	for _, o := range list {
		if id := copyOf(o); o.Modified.After(newest[id]) {
			newest[id] = o.Modified
		}
	}
	for _, o := range list {
		if id := copyOf(o); id != "" && !newest[id].After(before) {
			stale = append(stale, o)
		} else {
			kept++
		}
	}
	return stale, kept
}
