package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

func pasted(s string) tea.PasteMsg { return tea.PasteMsg{Content: s} }

// contexts bring the wizard into each context, with something before and
// after what is shown, so that every key has something to do.
var contexts = map[keyContext]func(t *testing.T) *driver{
	ctxEmpty: func(t *testing.T) *driver { return newDriver(t, &world{}, 80, 24, Options{}) },
	ctxRunning: func(t *testing.T) *driver {
		d := stocked(t, 60, 80, 24).press("i")
		d.emit(testEvents(60)...)
		return d.press("down", "down")
	},
	ctxTaken:    func(t *testing.T) *driver { return stocked(t, 300, 80, 24).press("pgdown", "pgdown") },
	ctxComplete: func(t *testing.T) *driver { return newDriver(t, completeWorld(), 80, 24, Options{}) },
	ctxReadiness: func(t *testing.T) *driver {
		return stocked(t, 60, 80, 24).press("2", "down", "down")
	},
	ctxFleet: func(t *testing.T) *driver {
		return stocked(t, 60, 160, 24).press("f", "/").write("eu").press("enter", "pgdown", "pgdown", "space")
	},
	ctxFilter: func(t *testing.T) *driver {
		return stocked(t, 60, 80, 24).press("f", "down", "down", "/").write("eu env").press("left")
	},
	ctxName: func(t *testing.T) *driver {
		return stocked(t, 60, 80, 24).press("f", "down", "down", "V").write("my view").press("left")
	},
	ctxPick: func(t *testing.T) *driver {
		return manyViews(t).press("v", "pgdown", "pgdown").write("view").press("left")
	},
	ctxHost: func(t *testing.T) *driver {
		return stocked(t, 60, 80, 24).press("f", "down", "down", "enter", "pgdown")
	},
	ctxTable:  func(t *testing.T) *driver { return crowded(t).press("l", "pgdown", "pgdown") },
	ctxTables: func(t *testing.T) *driver { return crowded(t).press("a", "pgdown", "pgdown") },
	ctxText: func(t *testing.T) *driver {
		snap, judged := testFleet(1)
		f := &judged.Findings[len(judged.Findings)-1]
		for range 60 {
			f.Evidence = append(f.Evidence, fleet.Evidence{Fact: "one more", Source: "test", At: testNow})
		}
		d := newDriver(t, &world{snap: snap, judged: judged}, 80, 24, Options{}).press("2", "home", "enter", "pgdown", "pgdown")
		return d
	},
	ctxStage: func(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("6") },
	ctxList:  func(t *testing.T) *driver { return many(t, nil).press("3", "pgdown", "pgdown") },
	ctxRecovery: func(t *testing.T) *driver {
		d := many(t, nil).press("4", "home", "down", "down")
		d.world.drill = testDrill()
		return d
	},
	ctxNoPlan: func(t *testing.T) *driver {
		d := stocked(t, 60, 80, 24).press("5")
		d.world.made = testPlan()
		return d
	},
	ctxPlan: func(t *testing.T) *driver { return many(t, manyBegun()).press("pgdown", "pgdown") },
	ctxBusy: func(t *testing.T) *driver {
		d := many(t, manyBegun()).press("pgdown", "pgdown", "A").write("3f2a9c01d4e7").press("enter")
		d.journal() // it has begun
		return d
	},
	ctxEdit: func(t *testing.T) *driver { return many(t, nil).press("e", "tab", "J", "pgdown", "pgdown") },
	ctxEditNumber: func(t *testing.T) *driver {
		return many(t, nil).press("e", "pgdown", "pgdown", "m").write("12").press("left")
	},
	ctxEditFilter: func(t *testing.T) *driver {
		return many(t, nil).press("e", "pgdown", "pgdown", "/").write("web api").press("left")
	},
	ctxEditPreview: func(t *testing.T) *driver {
		return many(t, nil).press("e", "G", "up", "*", "4", "enter", "enter", "pgdown", "pgdown")
	},
	ctxWave: func(t *testing.T) *driver { return many(t, manyBegun()).press("end", "enter", "pgdown", "pgdown") },
	ctxWaveBusy: func(t *testing.T) *driver {
		d := many(t, manyBegun()).press("end", "enter", "pgdown", "pgdown", "A").write("3f2a9c01d4e7").press("enter")
		d.journal() // it has begun
		return d
	},
	ctxConfirm: func(t *testing.T) *driver {
		return many(t, manyBegun()).press("end", "enter", "B", "down").write("3f2a")
	},
	ctxDecide: func(t *testing.T) *driver {
		d := many(t, nil).press("A").write("3f2a9c01d4e7").press("enter")
		d.question(cutover.Question{Text: "what now?"})
		return d
	},
	ctxPalette: func(t *testing.T) *driver {
		return stocked(t, 60, 80, 24).press(":").write("e").press("down", "pgdown")
	},
	ctxHelp: func(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("?", "pgdown", "pgdown") },
	ctxAsk:  func(t *testing.T) *driver { return running(t, 80, 24, 20).press("x") },
	ctxStopping: func(t *testing.T) *driver {
		d := running(t, 80, 24, 20)
		// The backend has not noticed yet: its goroutine is busy with a step.
		d.m.leaving = true
		return d
	},
}

// many is a plan with more waves and steps than a screen has lines.
func many(t *testing.T, entries []cutover.Entry) *driver {
	t.Helper()
	d := planned(t, nil, 80, 24)
	d.world.cutover = testCutover(manyWaves(), entries)
	return d.press("1", "5")
}

func manyWaves() *plan.Plan {
	p := testPlan()
	p.Digest = p.ID + "many"
	for i := range 20 {
		p.Waves = append(p.Waves, testWave(3+i, fmt.Sprintf("wave %d", 3+i), 5+i, 6+i))
	}
	p.Waves = append(p.Waves, testWave(23, "wave 23", 25, 55))
	return p
}

func manyBegun() []cutover.Entry {
	return newHistory(manyWaves(), testNow).run("apply").wave(0, 0).entries
}

// manyViews is the fleet table with more saved views than a screen has lines.
func manyViews(t *testing.T) *driver {
	t.Helper()
	snap, judged := testFleet(60)
	w := &world{snap: snap, judged: judged}
	for i := range 60 {
		w.views = append(w.views, fleet.View{Name: fmt.Sprintf("view %02d", i), Filter: "status:blocked", Group: "az"})
	}
	return newDriver(t, w, 80, 24, Options{}).press("f")
}

// crowded is a fleet with more people than a screen has lines.
func crowded(t *testing.T) *driver {
	t.Helper()
	snap, judged := testFleet(10)
	for i := range 90 {
		c, p := judged.Ledger.Consumers[0], judged.Parity.People[0]
		c.Owner, p.Person = fmt.Sprintf("person %02d", i), fmt.Sprintf("person %02d", i)
		judged.Ledger.Consumers, judged.Parity.People = append(judged.Ledger.Consumers, c), append(judged.Parity.People, p)
	}
	return newDriver(t, &world{snap: snap, judged: judged}, 80, 24, Options{})
}

// state is all that a key may change.
func (d *driver) state() string {
	run := ""
	if r := d.m.env.run; r != nil {
		run = fmt.Sprint(r.started, r.stopping)
	}
	wish := ""
	if c := d.world.cutover; c != nil {
		wish = fmt.Sprint(c.Wish)
	}
	return fmt.Sprint(d.m.View().Content, d.quit, d.world.reports, run, d.m.abandoned, d.m.at, wish, d.m.env.course.asked() != nil)
}

func TestEveryKeyDoesWhatTheHelpSays(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for c, stage := range contexts {
		for _, s := range c.layers() {
			for _, b := range s.bindings {
				for _, key := range b.keys {
					t.Run(fmt.Sprintf("%d %s %s", c, s.title, key), func(t *testing.T) {
						d := stage(t)
						if got := d.m.context(); got != c {
							t.Fatalf("the stage is in context %d:\n%s", got, d.screen())
						}
						before, shown, at, done := d.state(), d.screen(), d.m.at, d.world.done()
						d.press(key)
						if g, ok := b.in.(goTo); ok {
							if d.m.at != g.to {
								t.Errorf("the key leads to screen %d, want %d", d.m.at, g.to)
							}
							return
						}
						if before == d.state() {
							t.Errorf("the key (%s) changes nothing:\n%s", b.help, d.screen())
						}
						d.mustClose(c, at, shown, done)
					})
				}
			}
		}
	}
}

func TestEveryContextIsStaged(t *testing.T) {
	for c := ctxEmpty; c <= ctxStopping; c++ {
		if contexts[c] == nil {
			t.Errorf("no test presses keys in context %d", c)
		}
		seen := map[string]bool{}
		for _, s := range c.layers() {
			for _, b := range s.bindings {
				for _, k := range b.keys {
					if seen[k] {
						t.Errorf("context %d binds %q twice", c, k)
					}
					seen[k] = true
				}
			}
		}
		if !seen["ctrl+c"] {
			t.Errorf("context %d has no way out by ctrl+c", c)
		}
	}
}

func TestHelpNamesEveryKey(t *testing.T) {
	for c := range contexts {
		shown := "\n" + strings.Join(newHelp(&env{styles: newStyles(true, true)}, c).view(200, 500), "\n")
		for _, s := range []section{keysEmpty, keysRunning, keysTaken, keysComplete, keysReadiness, keysList, keysNoPlan, keysPlan, keysEdit, keysEditNumber, keysEditFilter, keysEditPreview, keysBusy, keysWatch, keysWave, keysWaveIdle, keysPalette, keysConfirm, keysDecide, keysText, keysFleet, keysFilter, keysName, keysPick, keysLine, keysHost, keysTable, keysTables, keysEverywhere, keysMoving} {
			if strings.Count(shown, "\n"+s.title+"\n") > 1 {
				t.Errorf("the help has %q twice", s.title)
			}
			for _, b := range s.bindings {
				if b.help == "" || !strings.Contains(shown, strings.Join(b.keys, ", ")) || !strings.Contains(shown, b.help) {
					t.Errorf("context %d: the help does not tell of %v: %q", c, b.keys, b.help)
				}
			}
		}
	}
}

func TestHintsNameKeysThatAreBound(t *testing.T) {
	for c := range contexts {
		for _, s := range c.layers() {
			for _, b := range s.bindings {
				if key, _, _ := strings.Cut(b.short, " "); b.short != "" && !slices.Contains(b.keys, key) {
					t.Errorf("the hint %q is for another key than %v", b.short, b.keys)
				}
			}
		}
	}
}

func TestDangerousKeysAskFirst(t *testing.T) {
	for _, key := range []string{"q", "ctrl+c", "x"} {
		d := running(t, 80, 24, 20).press(key)
		d.emit() // still there
		if d.quit || d.m.env.run.stopping {
			t.Errorf("%s interrupts the inventory without asking", key)
		}
		d.press("n")
		d.emit(testEvents(25)...)
		d.mustShow("25 of 60")
		d.mustNotShow("yes   n no")
	}
}
