package tui

import (
	"context"
	"errors"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
)

func TestRecoveryTellsOfKeyAndDrill(t *testing.T) {
	d := many(t, nil).press("4", "home")
	d.mustShow("Key: made", "1 generation in use", "in age file", "/home/ops/recovery.age", "at zero, drilled", "in 2m41s", "w runbook")
	d.press("enter").mustShow("Last drill", "3 of 3 hosts", "1m5s", "1m30s", "2m41s until the last host was reached")
	d.press("esc", "w").mustShow("The runbook is in /home/ops/runbook.md")
}

func TestRecoveryTellsOfAnOldKeyAndARunbookThatFailed(t *testing.T) {
	d := many(t, nil)
	d.world.cutover.Keys = []fleet.RecoveryKey{
		{Line: "ssh-ed25519 AAAA", CA: true, Location: "x", Made: testNow.Add(-100 * 24 * time.Hour)},
		{Line: "ssh-ed25519 BBBB", Location: "x", Made: testNow.Add(-200 * 24 * time.Hour), Retired: testNow},
	}
	d.m.env.backend.Runbook = func(context.Context) (string, error) { return "", errors.New("the disk is full") }
	d.press("1", "4").mustShow("Key (signs certificates): made", "TOO OLD", "rotate")
	d.press("w").mustShow("The runbook was not written: the disk is full")
}

// A login after the snapshot shows that key and door are there, whatever it says.
func TestALoginIsNewerThanTheSnapshot(t *testing.T) {
	d := many(t, nil)
	h := &d.world.cutover.Recovery[0].Hosts[0]
	h.Key, h.Rule = fleet.TruthNo, fleet.TruthNo
	h.Proof.At = d.m.env.data.snap.Started.Add(-time.Minute)
	d.press("1", "4").mustShow(" ✗    ✗    ✓ ")
	h.Proof.At = d.m.env.data.snap.Started.Add(time.Minute)
	d.press("1", "4").mustShow(" ✓    ✓    ✓ ")
	d.mustNotShow(" ✗    ✗    ✓ ")
}

// What the snapshot does not know of cannot be away from zero either.
func TestAGroupThatIsNotThereIsNotAwayFromZero(t *testing.T) {
	recovering(t, 80, 24, func(c *Cutover) { c.Recovery[0].There, c.Recovery[0].Zero = fleet.TruthNo, fleet.TruthNo }).mustNotShow("not at zero", "NOT at zero")
}
