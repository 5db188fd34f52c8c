package readiness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// requestContext holds the condition keys whose values are known for an
// agent's own request, in lower case. Any other key makes a condition a doubt.
type requestContext map[string]string

// condition is a Condition element: operator to key to values.
type condition map[string]map[string]conditionValues

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
	for _, x := range many {
		switch x.(type) {
		case string, bool, float64:
			*v = append(*v, fmt.Sprint(x))
		default:
			return fmt.Errorf("condition value %v is no string, number or Boolean", x)
		}
	}
	return nil
}

// holds says whether every key of every operator matches.
// Source: IAM User Guide, reference_policies_elements_condition_operators.
func (c condition) holds(ctx requestContext) answer {
	a := yes
	for operator, keys := range c {
		for key, want := range keys {
			a = min(a, operatorHolds(operator, want, ctx, strings.ToLower(key)))
		}
	}
	return a
}

func operatorHolds(operator string, want []string, ctx requestContext, key string) answer {
	got, known := ctx[key]
	if !known || slices.ContainsFunc(want, func(w string) bool { return strings.Contains(w, "${") }) {
		return maybe
	}
	// IfExists changes nothing for a key that exists.
	operator = strings.TrimSuffix(operator, "IfExists")
	positive := strings.Replace(operator, "Not", "", 1)
	var same func(w string) bool
	switch positive {
	case "StringEquals":
		same = func(w string) bool { return w == got }
	case "StringEqualsIgnoreCase", "Bool":
		same = func(w string) bool { return strings.EqualFold(w, got) }
	case "StringLike", "ArnLike", "ArnEquals":
		same = func(w string) bool { return glob(w, got) }
	default:
		return maybe
	}
	// A negated operator holds when none of its values matches.
	if slices.ContainsFunc(want, same) == (operator == positive) {
		return yes
	}
	return no
}
