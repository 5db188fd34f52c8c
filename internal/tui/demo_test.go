package tui

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// breakable is a driver of a demo in which two things can be broken.
func breakable(t *testing.T, demo bool) (*driver, *[]string) {
	t.Helper()
	d := stocked(t, 5, 80, 24)
	var broken []string
	b := &d.m.env.backend
	b.Demo = demo
	b.Faults = []Fault{{Name: "agent-dies", Argument: "agent-dies", Text: "an agent \x1b[31mstops", See: "its wave is rolled back"}, {Name: "end", Argument: "--end", Ends: true, Text: "all is well again"}}
	b.Fault = func(_ context.Context, name string) (string, error) {
		broken = append(broken, name)
		if name == "end" {
			return "", errors.New("nothing is broken")
		}
		return "agent-dies: the SSM Agent of web-1 has stopped", nil
	}
	return d, &broken
}

func TestADemoCanBeBroken(t *testing.T) {
	d, broken := breakable(t, true)
	d.press("!")
	d.mustShow("Break something in the simulated fleet?", "○ end", "● agent-dies", "$ migrate demo fault agent-dies", "Type break")
	d.mustShow("An agent �[31mstops.", "Then: its wave is rolled back.")
	d.press("enter")
	d.mustShow("No. Type break")
	d.write("break").press("enter")
	d.mustShow("✓ agent-dies: the SSM Agent of web-1 has stopped")
	d.press("!") // what is broken is to be put right next
	d.mustShow("● end", "All is well again.", "$ migrate demo fault --end", "Type end", "Choose, type end")
	d.write("end").press("enter")
	d.mustShow("✗ nothing is broken")
	d.press("!", "esc")
	d.mustNotShow("Break something")
	if want := []string{"agent-dies", "end"}; !slices.Equal(*broken, want) {
		t.Errorf("%q were broken, want %q", *broken, want)
	}
	d.press("?")
	for range 20 {
		d.press("pgdown")
	}
	d.press("G")
	d.mustShow("Signs")
}

func TestARealFleetCannotBeBroken(t *testing.T) {
	d, broken := breakable(t, false)
	d.press("!")
	d.mustNotShow("Break something", "Type break")
	if len(*broken) > 0 {
		t.Errorf("%q were broken", *broken)
	}
}
