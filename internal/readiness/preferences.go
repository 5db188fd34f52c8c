package readiness

func (j *judge) preferences() {}
