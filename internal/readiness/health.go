package readiness

func (j *judge) health() {}
