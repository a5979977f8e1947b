package grant

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLRUAgainstModel compares the lru with a plain list.
func TestLRUAgainstModel(t *testing.T) {
	now := time.Unix(1000, 0)
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.IntRange(1, 5).Draw(t, "bound")
		s := newLRU(bound)
		var model []*entry // by use, the least recent first
		drop := func(keep func(*entry) bool) {
			var left []*entry
			for _, e := range model {
				if keep(e) {
					left = append(left, e)
				}
			}
			model = left
		}
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 3)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := key{version: fmt.Sprint(rapid.IntRange(0, 6).Draw(t, "key"))}
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				e := &entry{key: k, names: names.Draw(t, "names"), until: now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "life")) * time.Second)}
				s.put(e)
				drop(func(o *entry) bool { return o.key != k })
				if len(model) == bound {
					model = model[1:]
				}
				model = append(model, e)
			case 1:
				var want *entry
				drop(func(o *entry) bool {
					if o.key == k && now.Before(o.until) {
						want = o
					}
					return o.key != k
				})
				if want != nil {
					model = append(model, want)
				}
				if got := s.get(k, now); got != want {
					t.Fatalf("get(%v) = %v, want %v", k, got, want)
				}
			case 2:
				gone := names.Draw(t, "evicted")
				s.evict(gone)
				drop(func(o *entry) bool { return !(Event{Names: gone}).touches(o.names) })
			default:
				now = now.Add(time.Second)
			}
			compare(t, s, model)
		}
	})
}

func compare(t *rapid.T, s *lru, model []*entry) {
	if len(s.byKey) != len(model) {
		t.Fatalf("%d entries, want %d", len(s.byKey), len(model))
	}
	at := s.oldest
	links := 0
	for _, e := range model {
		if at != e {
			t.Fatalf("in the order of use there is %v, want %v", at, e)
		}
		at = at.newer
		links += len(e.names)
	}
	for _, l := range s.byName {
		for ; l != nil; l = l.next {
			links--
		}
	}
	if at != nil || links != 0 {
		t.Fatalf("after the last entry there is %v; %d names are too many or too few", at, links)
	}
}

func TestHistoryIsPrunedByAgeAndNumber(t *testing.T) {
	l := newHistory(time.Minute, 3)
	now := time.Unix(1000, 0)
	event := Event{Names: []string{"a"}}
	for i := range uint64(5) {
		l.add(i+1, event, now)
		now = now.Add(time.Second)
	}
	if len(l.events) != 3 || l.start != 2 || l.startChangeNumber != 2 || l.position != 5 || l.appliedChangeNumber != 5 {
		t.Fatalf("after 5 events: %+v, want the last 3", l)
	}
	l.add(6, Event{}, now)
	if l.position != 5 || l.appliedChangeNumber != 6 {
		t.Errorf("a change that touches nothing moved the position to %d, the number to %d", l.position, l.appliedChangeNumber)
	}
	for _, tt := range []struct {
		asOf uint64
		want Position
		ok   bool
	}{{1, 0, false}, {2, 2, true}, {3, 3, true}, {5, 5, true}, {6, 5, true}, {99, 5, true}} {
		if got, ok := l.positionOf(tt.asOf); got != tt.want || ok != tt.ok {
			t.Errorf("positionOf(%d) = %d, %t, want %d, %t", tt.asOf, got, ok, tt.want, tt.ok)
		}
	}
	for _, tt := range []struct {
		position Position
		want     int
		ok       bool
	}{{1, 0, false}, {2, 3, true}, {4, 1, true}, {5, 0, true}, {9, 0, true}} {
		if got, ok := l.since(tt.position, []string{"a", "b"}); len(got) != tt.want || ok != tt.ok {
			t.Errorf("since(%d) = %v, %t, want %d, %t", tt.position, got, ok, tt.want, tt.ok)
		}
	}
	if got, ok := l.since(2, []string{"b"}); len(got) != 0 || !ok {
		t.Errorf("since for another name = %v, %t, want none", got, ok)
	}
	l.add(7, event, now.Add(time.Hour))
	if len(l.events) != 1 || l.start != 5 || l.startChangeNumber != 5 {
		t.Errorf("after an hour: %+v, want the newest alone", l)
	}
	l.reset(2)
	if _, ok := l.since(l.position, nil); !ok || l.appliedChangeNumber != 2 {
		t.Errorf("after a reset: %+v, want its position to be known", l)
	}
	if _, ok := l.since(l.position-1, nil); ok {
		t.Error("after a reset, what was before can be replayed")
	}
}
