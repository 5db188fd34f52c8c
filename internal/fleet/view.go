package fleet

// View is a way of looking at the hosts that an operator has given a name.
type View struct {
	Name    string `json:"name"`
	Filter  string `json:"filter"`            // in the language of filters; empty: all hosts
	Sort    string `json:"sort,omitempty"`    // a column; empty: by verdict
	Reverse bool   `json:"reverse,omitempty"` // the other way round
	Group   string `json:"group,omitempty"`   // what hosts are grouped by; empty: nothing
}
