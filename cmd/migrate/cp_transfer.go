package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/awsapi"
)

// copyItem is what is copied, as its source tells it.
type copyItem struct {
	Directory bool // what is copied is a tar archive of it
	Size      int64
	Modified  int64 // seconds since 1970
	Mode      uint32
	Sum       string // SHA-256, hexadecimal
	Name      string // the last element of its path
}

// part is one piece of an item on its way.
type part struct {
	number int
	size   int64
	key    string
}

// copyEnd is one of the two machines of a copy.
type copyEnd interface {
	// identity tells the machine and the path.
	identity() string
	// look reads the source.
	look(ctx context.Context, id string) (copyItem, error)
	// send puts parts into the bucket. It may be called while receive runs.
	send(ctx context.Context, c arrival, parts []part) error
	// forget removes what look has made.
	forget(ctx context.Context) error
	// place prepares the destination and tells which parts it has already.
	place(ctx context.Context, c arrival) (map[int]bool, error)
	// receive takes parts from the bucket.
	receive(ctx context.Context, parts []part) error
	// finish puts the parts together, checks them and gives the file its name.
	finish(ctx context.Context) (path string, err error)
}

// arrival is what a destination has to know of a copy.
type arrival struct {
	copyItem
	tag      string
	partSize int64
	parts    int
}

func (c arrival) sizeOf(n int) int64 { return min(c.partSize, c.Size-int64(n)*c.partSize) }

const (
	mebibyte     = 1 << 20
	leastPart    = 8 * mebibyte
	mostPart     = 64 * mebibyte
	mostParts    = 4000
	partsPerTurn = 16 // at most
)

// partSizeOf gives the size of parts: some hundreds of them, and small enough
// to be held in memory.
func partSizeOf(size int64) int64 {
	p := (size/256 + mebibyte - 1) / mebibyte * mebibyte
	return min(max(p, leastPart), mostPart)
}

// transfer is one copy.
type transfer struct {
	query    copyQuery
	from, to copyEnd
	objects  *awsapi.Objects
	progress *copyProgress
	begun    bool // something may be in the bucket or beside the destination
}

// copyResult is what cp --json prints.
type copyResult struct {
	Source      string  `json:"source"`
	Destination string  `json:"destination"`
	Bytes       int64   `json:"bytes"`   // of the file, or of the directory's archive
	Resumed     int64   `json:"resumed"` // of these, how many had arrived before
	Sum         string  `json:"sha256"`
	Seconds     float64 `json:"seconds"`

	took time.Duration
}

var checksum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check refuses what no honest source says.
func (i copyItem) check() error {
	switch {
	case i.Size < 0 || !checksum.MatchString(i.Sum) || i.Mode > 0o7777:
		return errors.New("the source's answer makes no sense")
	case i.Name == "" || i.Name == "." || i.Name == ".." || strings.ContainsFunc(i.Name, func(r rune) bool { return r < ' ' || r == '/' || r == 0x7f }) || strings.Contains(i.Name, "{{"):
		return fmt.Errorf("the name %q is none that can be copied to", oneLine(i.Name))
	case i.Size > mostParts*mostPart:
		return fmt.Errorf("%s are more than cp carries (%s)", bytesText(i.Size), bytesText(mostParts*mostPart))
	}
	return nil
}

func digest(parts ...string) string {
	text, _ := json.Marshal(parts) // strings always can be
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

func (t *transfer) run(ctx context.Context) (copyResult, error) {
	start := time.Now()
	t.progress.say("Reading %s.", t.from.identity())
	item, err := t.from.look(ctx, digest(t.from.identity(), t.to.identity()))
	if err != nil {
		return copyResult{}, err
	}
	if err := item.check(); err != nil {
		return copyResult{}, err
	}
	c := arrival{copyItem: item, partSize: partSizeOf(item.Size)}
	c.parts = int((item.Size + c.partSize - 1) / c.partSize)
	// What is the same copy says nothing but this: the machines, the paths and
	// the content. No state is kept anywhere else.
	c.tag = digest(t.from.identity(), t.to.identity(), item.Sum, strconv.FormatInt(item.Size, 10), strconv.FormatInt(c.partSize, 10))
	t.begun = true
	have, err := t.to.place(ctx, c)
	if err != nil {
		return copyResult{}, err
	}
	stored, folder, err := t.stored(ctx, c)
	if err != nil {
		return copyResult{}, err
	}
	var missing []part
	resumed := item.Size
	for n := range c.parts {
		if !have[n] {
			missing = append(missing, part{n, c.sizeOf(n), folder + fmt.Sprintf("%06d", n)})
			resumed -= c.sizeOf(n)
		}
	}
	t.progress.begin(item.Size, resumed)
	if err := t.move(ctx, c, missing, stored); err != nil {
		return copyResult{}, err
	}
	at, err := t.to.finish(ctx)
	if err != nil {
		return copyResult{}, err
	}
	err = errors.Join(t.removeAll(ctx, c.tag), t.from.forget(ctx))
	t.progress.end()
	took := time.Since(start)
	return copyResult{Source: t.from.identity(), Destination: at, Bytes: item.Size, Resumed: resumed, Sum: item.Sum, Seconds: took.Seconds(), took: took}, err
}

// stored finds the parts that a broken-off run of this copy left in the
// bucket, by number, and the folder in which they and the others lie.
func (t *transfer) stored(ctx context.Context, c arrival) (map[int]bool, string, error) {
	list, err := t.objects.List(ctx, t.query.prefix+c.tag+"-")
	if err != nil {
		return nil, "", err
	}
	found, folder := map[int]bool{}, ""
	for _, o := range list {
		m := copyKey.FindStringSubmatch(strings.TrimPrefix(o.Key, t.query.prefix))
		if m == nil {
			continue
		}
		if folder == "" {
			folder = t.query.prefix + m[1] + "/"
		}
		n, err := strconv.Atoi(strings.TrimPrefix(o.Key, folder))
		if err == nil && n < c.parts && o.Size == c.sizeOf(n) {
			found[n] = true
		}
	}
	if folder == "" {
		var random [16]byte
		_, _ = rand.Read(random[:]) // never fails
		folder = t.query.prefix + c.tag + "-" + hex.EncodeToString(random[:]) + "/"
	}
	return found, folder, nil
}

// removeAll deletes what is in the bucket of this copy.
func (t *transfer) removeAll(ctx context.Context, tag string) error {
	list, err := t.objects.List(ctx, t.query.prefix+tag+"-")
	for _, o := range list {
		err = errors.Join(err, t.objects.Delete(ctx, o.Key))
	}
	return err
}

// turn is how long one command on a host should take: long enough that its own
// way there and back does not count, short enough that progress shows.
const turn = 20 * time.Second

// move sends the missing parts a few at a time; while the destination takes
// some, the source sends the next.
func (t *transfer) move(ctx context.Context, c arrival, missing []part, stored map[int]bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan []part, 1)
	go func() {
		defer close(sent)
		for width := 2; len(missing) > 0; {
			some := missing[:min(width, len(missing))]
			missing = missing[len(some):]
			start := time.Now()
			unsent := slices.DeleteFunc(slices.Clone(some), func(p part) bool { return stored[p.number] })
			if len(unsent) > 0 {
				if err := t.from.send(ctx, c, unsent); err != nil {
					cancel(err)
					return
				}
			}
			switch took := time.Since(start); {
			case took < turn/2:
				width = min(2*width, partsPerTurn)
			case took > 2*turn:
				width = max(width/2, 1)
			}
			select {
			case sent <- some:
			case <-ctx.Done():
				return
			}
		}
	}()
	for some := range sent {
		if err := t.to.receive(ctx, some); err != nil {
			cancel(err)
			break
		}
		for _, p := range some {
			if err := t.objects.Delete(ctx, p.key); err != nil {
				cancel(err)
				break
			}
			t.progress.add(p.size)
		}
	}
	for range sent { //nolint:revive // the sender ends before its end of the copy is used again
	}
	return context.Cause(ctx)
}
