package readiness

// answer is a three-valued yes or no. The zero value is "no" in the order
// no < maybe < yes, so that min is "and" and max is "or".
type answer int8

const (
	no answer = iota
	maybe
	yes
)

func (a answer) String() string { return [...]string{"no", "maybe", "yes"}[a] }

// agree is the answer to "does it hold whichever of these is the case?": yes
// or no when all agree, maybe when they differ or there are none.
func agree(all ...answer) answer {
	if len(all) == 0 {
		return maybe
	}
	for _, a := range all[1:] {
		if a != all[0] {
			return maybe
		}
	}
	return all[0]
}
