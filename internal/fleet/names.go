package fleet

import "fmt"

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("invalid(%d)", i)
	}
	return names[i]
}

func parseName(what string, names []string, b []byte, into *int) error {
	for i, n := range names {
		if n == string(b) {
			*into = i
			return nil
		}
	}
	return fmt.Errorf("%q is not a %s", b, what)
}
