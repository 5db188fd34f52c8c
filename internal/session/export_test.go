package session

// Find looks for the command's answer in what a terminal showed.
func (c Command) Find(seen []byte) (Result, bool) { return c.find(seen) }
