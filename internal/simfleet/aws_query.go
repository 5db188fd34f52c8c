package simfleet

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// itemSet is EC2's way to write a list, memberList that of the query protocol.
// Both write their element even when they are empty, as AWS does.
type (
	itemSet[T any] struct {
		Items []T `xml:"item"`
	}
	memberList[T any] struct {
		Items []T `xml:"member"`
	}
)

func itemsOf[S, T any](in []S, f func(S) T) itemSet[T] { return itemSet[T]{mapped(in, f)} }

func membersOf[S, T any](in []S, f func(S) T) memberList[T] { return memberList[T]{mapped(in, f)} }

func mapped[S, T any](in []S, f func(S) T) []T {
	out := make([]T, len(in))
	for i, x := range in {
		out[i] = f(x)
	}
	return out
}

func same[T any](x T) T { return x }

type tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagSet(tags map[string]string) itemSet[tag] {
	var out itemSet[tag]
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out.Items = append(out.Items, tag{k, tags[k]})
	}
	return out
}

// timestamp is a time in AWS's format.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// list reads Name.1, Name.2, … of a query request.
func (c *call) list(name string) []string {
	var out []string
	for i := 1; ; i++ {
		v, ok := c.form[name+"."+strconv.Itoa(i)]
		if !ok || len(v) == 0 {
			return out
		}
		out = append(out, v[0])
	}
}

// table is a collection that EC2 describes: by ID, by filter, by page.
type table[T any] struct {
	rows   []T
	id     func(T) string
	ids    string // the request's parameter for IDs: "VpcId"
	absent string // error code for an ID that does not exist
	tags   func(T) map[string]string
	filter map[string]func(T) []string // a row's values by filter name; "tag:…" and "tag-key" come from tags
	min    int                         // least MaxResults; 0: 5
}

const maxEC2Page = 1000

// page gives the rows that a request asks for, and the token for the next page.
func (t table[T]) page(c *call) (rows []T, next string, err error) {
	rows, err = t.byID(c)
	if err != nil {
		return nil, "", err
	}
	if rows, err = t.filtered(c, rows); err != nil {
		return nil, "", err
	}
	size := maxEC2Page
	if s := c.form.Get("MaxResults"); s != "" {
		n, err := strconv.Atoi(s)
		least := max(t.min, 5)
		if t.min == 1 {
			least = 1
		}
		switch {
		case err != nil || n < least:
			return nil, "", refuse("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid. Expecting a value greater than %d.", s, least)
		case t.ids != "" && c.form.Has(t.ids+".1"):
			return nil, "", refuse("InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults", t.ids)
		}
		size = min(n, maxEC2Page)
	}
	start, err := c.offset(c.form.Get("NextToken"), len(rows), "InvalidNextToken")
	if err != nil {
		return nil, "", err
	}
	rows = rows[start:]
	if len(rows) > size {
		rows, next = rows[:size], c.pageToken(start+size)
	}
	return rows, next, nil
}

func (t table[T]) byID(c *call) ([]T, error) {
	want := c.list(t.ids)
	if len(want) == 0 {
		return t.rows, nil
	}
	index := make(map[string]T, len(t.rows))
	for _, r := range t.rows {
		index[t.id(r)] = r
	}
	var out []T
	for _, id := range want {
		r, ok := index[id]
		if !ok {
			return nil, refuse(t.absent, "The ID '%s' does not exist", id)
		}
		out = append(out, r)
	}
	return out, nil
}

func (t table[T]) filtered(c *call, rows []T) ([]T, error) {
	for i := 1; ; i++ {
		prefix := "Filter." + strconv.Itoa(i)
		name := c.form.Get(prefix + ".Name")
		if name == "" {
			return rows, nil
		}
		values := t.values(name)
		if values == nil {
			return nil, refuse("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		want := c.list(prefix + ".Value")
		var kept []T
		for _, r := range rows {
			if slices.ContainsFunc(values(r), func(v string) bool { return anyMatches(want, v, false) }) {
				kept = append(kept, r)
			}
		}
		rows = kept
	}
}

// values gives how to read a filter's values off a row; nil: no such filter.
func (t table[T]) values(name string) func(T) []string {
	if f := t.filter[name]; f != nil || t.tags == nil {
		return f
	}
	if name == "tag-key" {
		return func(r T) []string { return slices.Collect(maps.Keys(t.tags(r))) }
	}
	key, ok := strings.CutPrefix(name, "tag:")
	if !ok {
		return nil
	}
	return func(r T) []string {
		if v, has := t.tags(r)[key]; has {
			return []string{v}
		}
		return nil
	}
}

// one makes a filter of a field with one value.
func one[T any](f func(T) string) func(T) []string {
	return func(r T) []string { return []string{f(r)} }
}

// pageToken hides an offset as AWS's opaque tokens do. It serves one API only.
func (c *call) pageToken(offset int) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s %d", c.action, offset))
}

// offset reads a pageToken; an empty one is the start.
func (c *call) offset(token string, rows int, code string) (int, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		action, n, _ := strings.Cut(string(b), " ")
		if i, err := strconv.Atoi(n); err == nil && action == c.action && i >= 0 && i <= rows {
			return i, nil
		}
	}
	return 0, &apiError{http.StatusBadRequest, code, "The token '" + token + "' is invalid"}
}
