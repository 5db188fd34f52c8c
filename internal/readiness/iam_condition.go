package readiness

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Keys is what is known of some condition keys of a request, named in lower case:
//
//	{"aws:requestedregion": {"eu-west-1"}} the key has this value
//	{"aws:tagkeys": {"a", "b"}}            it has these values
//	{"aws:username": nil}                  it is known that the request lacks it
//	{"aws:principaltag/": nil}             so it is with every key of this family that is not listed
//
// A key that is not listed is not known.
type Keys map[string][]string

type contextValues = Keys

// requestContext is what is known of a request's condition keys, in layers:
// the first layer that knows a key decides. Make the layers that requests
// share once (one for a principal, one for a host), and put them together for
// each request: requestContext{principal, host}. A nil one knows nothing.
type requestContext []contextValues

// lookup gives the values of a lower-case key; known and empty: the request
// lacks it.
func (c requestContext) lookup(key string) (values []string, known bool) {
	for _, layer := range c {
		if values, known = layer.value(key); known {
			return values, true
		}
	}
	return nil, false
}

func (v contextValues) value(key string) (values []string, known bool) {
	if values, known = v[key]; known {
		return values, true
	}
	if i := strings.IndexByte(key, '/'); i >= 0 {
		_, known = v[key[:i+1]]
	}
	return nil, known
}

// addTags adds keys such as aws:ResourceTag/NAME for all of a thing's tags, so
// that others of the family are known to be absent. Names of keys are
// compared without regard to case, those of tags included.
func (v contextValues) addTags(tags map[string]string, families ...string) {
	for _, f := range families {
		v[f] = nil
		for name, value := range tags {
			key := f + strings.ToLower(name)
			v[key] = append(v[key], value)
		}
	}
}

// condition is a Condition element.
type condition []comparison

// comparison is one key of one operator.
type comparison struct {
	set       setOperator
	negated   bool
	ifExists  bool
	operator  string // without set operator, Not and IfExists; "" is one that is not known
	key       string // lower case
	written   string // the key as the policy has it
	values    []pattern
	rawValues []string
}

// setOperator compares a key with several values.
type setOperator int

const (
	noSet setOperator = iota
	forAll
	forAny
)

// conditionValues are strings; IAM takes Booleans and numbers without quotes too.
type conditionValues []string

// UnmarshalJSON reads one value or a list of them.
func (v *conditionValues) UnmarshalJSON(b []byte) error {
	var many []any
	if json.Unmarshal(b, &many) != nil {
		var one any
		if err := json.Unmarshal(b, &one); err != nil {
			return err
		}
		many = []any{one}
	}
	*v = conditionValues{}
	for _, x := range many {
		switch x := x.(type) {
		case string:
			*v = append(*v, x)
		case bool:
			*v = append(*v, strconv.FormatBool(x))
		case float64:
			*v = append(*v, strconv.FormatFloat(x, 'f', -1, 64))
		default:
			return fmt.Errorf("condition value %v is no string, number or Boolean", x)
		}
	}
	return nil
}

// newCondition compiles a Condition element of a document of the given language version.
func newCondition(raw map[string]map[string]conditionValues, version string) condition {
	var out condition
	for name, keys := range raw {
		c := newComparison(name)
		for key, values := range keys {
			c.key, c.written, c.rawValues, c.values = strings.ToLower(key), key, values, nil
			for _, v := range values {
				c.values = append(c.values, newPattern(v, version))
			}
			out = append(out, c)
		}
	}
	return out
}

// newComparison reads the name of an operator.
func newComparison(name string) (c comparison) {
	if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		c.set, name = forAll, rest
	} else if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		c.set, name = forAny, rest
	}
	name, c.ifExists = strings.CutSuffix(name, "IfExists")
	if op, ok := negations[name]; ok {
		c.negated, name = true, op
	}
	if _, ok := operators[name]; ok || name == "Null" && !c.ifExists && c.set == noSet {
		c.operator = name
	}
	return c
}

// holds says whether every key of every operator matches.
// Source: IAM User Guide, reference_policies_elements_condition_operators and
// reference_policies_condition-logic-multiple-context-keys-or-values.
func (c condition) holds(ctx requestContext) answer {
	a := yes
	for i := range c {
		if a = min(a, c[i].holds(ctx)); a == no {
			return no
		}
	}
	return a
}

func (c *comparison) holds(ctx requestContext) answer {
	got, known := ctx.lookup(c.key)
	switch {
	case !known || c.operator == "":
		return maybe
	case c.operator == "Null":
		return c.null(len(got) == 0)
	case len(got) == 0:
		return c.withoutKey()
	}
	if len(got) == 1 {
		return c.one(got[0], ctx)
	}
	if c.set == noSet {
		all := make([]answer, 0, 4)
		for _, g := range got {
			all = append(all, c.one(g, ctx))
		}
		return agree(all...)
	}
	a := yes
	if c.set == forAny {
		a = no
	}
	for _, g := range got {
		if c.set == forAny {
			a = max(a, c.one(g, ctx))
		} else {
			a = min(a, c.one(g, ctx))
		}
	}
	return a
}

// withoutKey is the answer for a request that lacks the key. The guide says
// both that ForAllValues is true then and, in an example, that
// ForAllValues:StringNotLike does not match; that stays open.
// Source: IAM User Guide, reference_policies_elements_condition_operators and
// reference_policies_condition-single-vs-multi-valued-context-keys.
func (c *comparison) withoutKey() answer {
	switch {
	case c.ifExists:
		return yes
	case c.set == forAny:
		return no
	case c.set == forAll && c.negated:
		return maybe
	case c.set == forAll, c.negated:
		return yes
	}
	return no
}

// null answers the operator that asks whether a key is absent.
func (c *comparison) null(absent bool) answer {
	a := no
	for _, v := range c.rawValues {
		switch strings.ToLower(v) {
		case strconv.FormatBool(absent):
			a = yes
		case "true", "false":
		default:
			a = max(a, maybe)
		}
	}
	return a
}

// one compares one value of the request with all of the policy's: one match
// is enough, and a negated operator holds when none matches.
func (c *comparison) one(got string, ctx requestContext) answer {
	same, a := operators[c.operator], no
	for i := range c.values {
		if a = max(a, same(c.values[i], got, ctx)); a == yes {
			break
		}
	}
	if c.negated {
		return yes - a
	}
	return a
}
