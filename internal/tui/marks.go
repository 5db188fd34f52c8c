package tui

// marks says which rows of the fleet table the operator has marked. They belong
// to hosts, not to lines: a filter or another order does not touch them.
type marks struct {
	marked []bool // by row; nil: none
	n      int
}

func (m *marks) has(i int32) bool { return int(i) < len(m.marked) && m.marked[i] }

func (m *marks) set(i int32, on bool, rows int) {
	if m.marked == nil {
		m.marked = make([]bool, rows)
	}
	if m.marked[i] != on {
		m.marked[i] = on
		if on {
			m.n++
		} else {
			m.n--
		}
	}
}

// turn marks all these rows, or when they all are marked, none of them.
func (m *marks) turn(rows []int32, of int) {
	on := false
	for _, i := range rows {
		on = on || !m.has(i)
	}
	for _, i := range rows {
		m.set(i, on, of)
	}
}

// carry keeps the marks of hosts that newer data still knows.
func (m *marks) carry(from, to *data) marks {
	var out marks
	if m.n == 0 || from == nil || to == nil {
		return out
	}
	for i, on := range m.marked {
		if !on {
			continue
		}
		if j, ok := to.byID[from.rows[i].host.ID]; ok {
			out.set(int32(j), true, len(to.rows))
		}
	}
	return out
}

// among counts the marked ones of some rows.
func (m *marks) among(rows []int32) int {
	if m.n == 0 {
		return 0
	}
	n := 0
	for _, i := range rows {
		if m.has(i) {
			n++
		}
	}
	return n
}
