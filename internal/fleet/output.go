package fleet

// ProbeOutput is what a host printed when a script ran on it.
type ProbeOutput struct {
	Stdout    []byte
	Stderr    []byte
	Truncated bool     // the host printed more than was read
	User      string   // login user
	Via       []string // bastions passed, outermost first
	Way       Way      // by which the script ran; empty: SSH
}
