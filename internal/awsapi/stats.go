package awsapi

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// CallStats sums up the calls of one API in one Region.
type CallStats struct {
	API       string // "ec2:DescribeVpcs"
	Region    string // the client's; for global services the one that they were reached through
	Calls     int
	Attempts  int // tries, at least one for each call that got credentials
	Throttled int // tries that were turned down for their rate
	Failed    int // calls without a good answer
	Time      time.Duration
}

// stats is safe for concurrent use; its zero value is ready.
type stats struct {
	mu   sync.Mutex
	byID map[[2]string]*CallStats // by API and Region; guarded by mu
}

func (s *stats) update(api, region string, f func(*CallStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[[2]string]*CallStats{}
	}
	id := [2]string{api, region}
	if s.byID[id] == nil {
		s.byID[id] = &CallStats{API: api, Region: region}
	}
	f(s.byID[id])
}

func (s *stats) called(api, region string, took time.Duration, failed bool) {
	s.update(api, region, func(c *CallStats) {
		c.Calls++
		c.Time += took
		if failed {
			c.Failed++
		}
	})
}

func (s *stats) tried(api, region string, throttled bool) {
	s.update(api, region, func(c *CallStats) {
		c.Attempts++
		if throttled {
			c.Throttled++
		}
	})
}

func (s *stats) list() []CallStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]CallStats, 0, len(s.byID))
	for _, c := range s.byID {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b CallStats) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Region, b.Region))
	})
	return out
}
