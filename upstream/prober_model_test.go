package upstream

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// starting is an instance that a fake look finds once it has started.
type startingInstance struct {
	*Endpoint
	registered time.Time
	takes      time.Duration
	found      time.Duration // time after it had started; -1 before
}

// proberOf runs a prober in the bubble of a test whose looks find instances.
func proberOf(ctx context.Context, p *prober, done chan struct{}, known map[*Endpoint]*startingInstance, looks *int) {
	defer close(done)
	p.run(ctx, func(_ context.Context, e *Endpoint) plan {
		time.Sleep(100 * time.Microsecond) // of a refused connect
		p.mu.Lock()
		defer p.mu.Unlock()
		*looks++
		i := known[e]
		age := time.Since(i.registered)
		if age >= i.takes {
			i.found = age - i.takes
			return plan{}
		}
		return plan{after: probePause(age), line: repeats(age)}
	})
}

// TestStartsAreFoundInTime: alone, and beside thousands of instances that never
// start.
func TestStartsAreFoundInTime(t *testing.T) {
	for name, crowd := range map[string]int{"alone": 0, "beside 3,000 that never start": 3_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { startsAreFound(t, crowd) })
		})
	}
}

func startsAreFound(t *testing.T, crowd int) {
	const rate = 1000
	p := newProber(256, rate)
	known, looks, done := make(map[*Endpoint]*startingInstance), 0, make(chan struct{})
	add := func(takes time.Duration) *startingInstance {
		i := &startingInstance{Endpoint: &Endpoint{}, registered: time.Now(), takes: takes, found: -1}
		p.mu.Lock()
		known[i.Endpoint] = i
		p.mu.Unlock()
		p.ask(i.Endpoint, false)
		return i
	}
	ctx, cancel := context.WithCancel(t.Context())
	go proberOf(ctx, p, done, known, &looks)
	began := time.Now()
	for range crowd {
		add(1000 * time.Hour)
	}
	if crowd > 0 {
		time.Sleep(20 * time.Second)
	}
	var all []*startingInstance
	for _, takes := range []time.Duration{0, 70 * time.Millisecond, 520 * time.Millisecond, 5 * time.Second, 40 * time.Second} {
		all = append(all, add(takes))
	}
	if crowd == 0 {
		all = append(all, add(5*time.Minute))
	}
	time.Sleep(all[len(all)-1].takes * 11 / 10)
	cancel()
	<-done
	for _, i := range all {
		bound := max(i.takes/10, 2*time.Millisecond)
		if i.takes < startTime {
			bound = min(bound, startPause+time.Millisecond)
		}
		switch { // it waits for its share of the rate
		case crowd > 0 && i.takes > 16*time.Second: // among those of its age
			bound = i.takes / 10
		case crowd > 0:
			bound += 2 * budgetPause
		}
		if i.found < 0 || i.found > bound {
			t.Errorf("an instance that takes %v was found %v later, want %v at most", i.takes, i.found, bound)
		}
	}
	if most := len(known) + rate/50 + int(time.Since(began).Seconds()*rate); looks > most {
		t.Errorf("%d looks, want %d at most", looks, most)
	}
}

// TestProberModel runs random programs of asks, times and looks: no endpoint is looked
// at twice at once, there are no more looks than places, and no endpoint that was asked
// for is forgotten.
func TestProberModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubble{t}, proberProgram) })
}

// bubble hides the test's deadline from rapid: within synctest it must not be read.
type bubble struct{ rapid.TB }

// subject is an endpoint of a model, and what its looks do.
type subject struct {
	*Endpoint
	takes time.Duration
	next  plan

	running       bool
	looked, ended time.Time // when the last look did
	asked, wanted time.Time // last
}

func proberProgram(t *rapid.T) {
	most := rapid.IntRange(1, 3).Draw(t, "places")
	p := newProber(most, 500)
	subjects := make([]*subject, rapid.IntRange(1, 8).Draw(t, "endpoints"))
	byEndpoint := make(map[*Endpoint]*subject)
	for i := range subjects {
		subjects[i] = &subject{Endpoint: &Endpoint{}}
		byEndpoint[subjects[i].Endpoint] = subjects[i]
	}
	running := 0
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var wrong string // found by a look
	go func() {
		defer close(done)
		p.run(ctx, func(_ context.Context, e *Endpoint) plan {
			p.mu.Lock()
			s := byEndpoint[e]
			if running++; s.running || running > most*(2+slowShare) {
				wrong = "an endpoint is looked at twice at once, or too many are"
			}
			s.running, s.looked = true, time.Now()
			takes := s.takes
			p.mu.Unlock()
			time.Sleep(takes)
			p.mu.Lock()
			defer p.mu.Unlock()
			running--
			s.running, s.ended = false, time.Now()
			return s.next
		})
	}()
	pick := func(t *rapid.T) *subject { return rapid.SampledFrom(subjects).Draw(t, "endpoint") }
	millis := func(t *rapid.T, most int, what string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, what)) * time.Millisecond
	}
	t.Repeat(map[string]func(*rapid.T){
		"ask": func(t *rapid.T) {
			s := pick(t)
			s.asked = time.Now()
			p.ask(s.Endpoint, false)
		},
		"urgently": func(t *rapid.T) {
			s := pick(t)
			s.wanted = time.Now()
			p.ask(s.Endpoint, true)
		},
		"forget": func(t *rapid.T) {
			s := pick(t)
			p.forget(s.Endpoint)
			s.asked, s.wanted = time.Time{}, time.Time{}
		},
		"behave": func(t *rapid.T) {
			s := pick(t)
			p.mu.Lock()
			defer p.mu.Unlock()
			s.takes = millis(t, 400, "takes")
			switch rapid.IntRange(0, 2).Draw(t, "then") {
			case 0:
				s.next = plan{}
			case 1:
				pause := shortestPause + millis(t, 1000, "pause")
				s.next = plan{after: pause, line: repeats(60 * pause)}
			case 2:
				s.next = plan{after: time.Millisecond + millis(t, 5000, "interval"), line: due}
			}
		},
		"pass": func(t *rapid.T) { time.Sleep(millis(t, 300, "time")) },
		"": func(t *rapid.T) {
			synctest.Wait()
			if wrong != "" {
				t.Fatal(wrong)
			}
		},
	})
	p.mu.Lock()
	for _, s := range subjects {
		s.takes, s.next = 0, plan{}
	}
	p.mu.Unlock()
	time.Sleep(time.Minute)
	cancel()
	<-done
	for i, s := range subjects {
		if s.looked.Before(s.asked) || s.ended.Before(s.wanted) {
			t.Fatalf("endpoint %d was asked for and forgotten: %+v", i, s.schedule)
		}
		if s.schedule.turn != resting {
			t.Fatalf("endpoint %d does not rest in the end: %+v", i, s.schedule)
		}
	}
	if p.busy != [classCount]int{} {
		t.Fatalf("places taken in the end: %v", p.busy)
	}
}
