package main

import "testing"

// A plan takes every host that Run Command reads; one without sshd would fail at
// its recovery login, and the demo's story would have no end.
func TestTheDemoHasNoHostThatEndsItsStory(t *testing.T) {
	w, err := demoWorld(demoOptions{instances: 60, seed: 7, unreachable: 5})
	if err != nil {
		t.Fatal(err)
	}
	silent := 0
	for in := range w.Instances() {
		switch {
		case !in.Down:
		case w.CommandReason(in) == "":
			t.Errorf("%s has no sshd, and Run Command reads it", called(in))
		default:
			silent++
		}
	}
	if silent == 0 {
		t.Error("every host answers: the story has no host that is down")
	}
}
