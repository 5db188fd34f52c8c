package readiness

// link says which finding of the host brings which other about.
func (j *judge) link() {}
