package cutover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// AWSKinds are the step kinds on AWS's side.
//
// Generations are all generations of the recovery key, newest first: a bastion
// that starts with a later one than a plan's serves it as well.
func AWSKinds(a AWS, generations ...fleet.RecoveryKey) Kinds {
	rules := allowRules{groups: a}
	role := roleStep{roles: a}
	timers := ruleTimers{groups: a, schedules: a, roles: a}
	return Kinds{
		plan.AttachProfile:         attachProfile{profiles: a, roles: a},
		plan.ExtendRole:            role,
		plan.TimerRole:             role,
		plan.DefaultHostManagement: defaultHost{settings: a, roles: a},
		plan.AllowEgress:           rules,
		plan.RecoveryRule:          rules,
		plan.CreateEndpoint:        createEndpoint{endpoints: a, groups: a},
		plan.SessionPreferences:    sessionPreferences{documents: a},
		plan.RecoveryGroup:         recoveryGroup{groups: a, templates: a, scaling: a, generations: generations},
		plan.RecoveryTemplate:      recoveryTemplate{templates: a, scaling: a, generations: generations},
		plan.ArmRuleTimer:          armRules{timers},
		plan.ClosePort:             closePort{groups: a},
		plan.DisarmRuleTimer:       disarmRules{timers},
		plan.ScaleIn:               scaleIn{scaling: a},
	}
}

// How long a change may take until AWS shows it. IAM and EC2 document no
// bound; seconds are usual. What is made of machines takes minutes.
const (
	visibleWithin = 30 * time.Second
	builtWithin   = 15 * time.Minute
)

// catchUp is how long a read is mistrusted after a change whose answer nobody
// has seen: what it does not show may still come.
const catchUp = 5 * time.Second

// applied is what Apply returns once its change shows, so that Undo need not
// wait for reads to catch up.
const applied = `{"visible":true}`

// done is what Apply returns.
func done(err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	return json.RawMessage(applied), nil
}

// settle calls try, with growing pauses, until it has nothing left to wait for.
// Try acts on what it reads: a read may lag, so it may act twice and must
// understand the answer to that.
func settle(ctx context.Context, bound time.Duration, try func() (left string, err error)) error {
	return settleFor(ctx, bound, 0, try)
}

// unsettle is settle for Undo.
func unsettle(ctx context.Context, bound time.Duration, after json.RawMessage, try func() (left string, err error)) error {
	while := catchUp
	if len(after) > 0 {
		while = 0
	}
	return settleFor(ctx, bound, while, func() (string, error) {
		_, cancel, err := Late(ctx)
		if err != nil {
			return "", err
		}
		defer cancel()
		return try()
	})
}

// settleFor ends when there has been nothing left for a while.
func settleFor(ctx context.Context, bound, while time.Duration, try func() (left string, err error)) error {
	start := time.Now()
	longest := max(bound/60, time.Second)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, longest) {
		left, err := try()
		if err != nil || left == "" && time.Since(start) >= while {
			return err
		}
		if left != "" && time.Since(start)+pause > bound {
			return fmt.Errorf("after %v AWS does not show it done: %s", bound, left)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// answered takes an answer for what it is: some errors say that there is
// nothing left to do.
func answered(err error, done ...error) error {
	for _, d := range done {
		if errors.Is(err, d) {
			return nil
		}
	}
	return err
}

func observed(holds bool, image any, detail string, args ...any) (Observation, error) {
	raw, err := json.Marshal(image)
	if err != nil {
		return Observation{}, fmt.Errorf("write the before-image: %w", err)
	}
	o := Observation{Holds: fleet.TruthNo, Detail: fmt.Sprintf(detail, args...), Image: raw}
	if holds {
		o.Holds = fleet.TruthYes
	}
	return o, nil
}

// restored is the answer of Undone: left names what is not as before.
func restored(left string) (Observation, error) {
	if left != "" {
		return Observation{Holds: fleet.TruthNo, Detail: left}, nil
	}
	return Observation{Holds: fleet.TruthYes, Detail: "as before"}, nil
}

// imageOf reads an image that observed wrote.
func imageOf[T any](raw json.RawMessage) (T, error) {
	var v T
	if len(raw) == 0 {
		return v, errors.New("there is no before-image")
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("read the before-image: %w", err)
	}
	return v, nil
}

func malformed(s plan.Step) error {
	return fmt.Errorf("step %s does not say what a step of kind %s has to change: make a new plan", s.ID, s.Kind)
}

// stepTags are the tags of what a step makes.
func stepTags(tags map[string]string, token string) map[string]string {
	out := map[string]string{fleet.TagStep: token}
	maps.Copy(out, tags)
	out[fleet.TagStep] = token
	return out
}

// sameJSON compares documents by what they say.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	one, errOne := canonical(a)
	other, errOther := canonical(b)
	return errOne == nil && errOther == nil && bytes.Equal(one, other)
}

func canonical(document string) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(document)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
