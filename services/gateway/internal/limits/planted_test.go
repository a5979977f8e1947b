package limits

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// planted are faults of the kinds that such code has had. Each replaces a text of a file,
// which must be there once.
var planted = []struct{ name, file, text, fault string }{
	{"a bucket that is one token deeper", "bucket.go", "<= l.depth-cost", "<= l.depth+l.token-cost"},
	{"a token that is rounded down", "bucket.go", "return (ticks-1)/r.Amount + 1", "return ticks / r.Amount"},
	{"a refill that is counted from the last take", "bucket.go", "return min(max(fullAt(word), l.ticks(now))+l.cost(n), latest)", "return min(fullAt(word)+l.cost(n), latest)"},
	{"a great message that an empty bucket takes", "bucket.go", "return whole && full <= at", "return whole"},
	{"frames that are not charged into debt", "bucket.go", "l.swap(word, l.after(now, word, n)) {\n\t\t\treturn\n", "l.swap(word, min(l.after(now, word, n), l.ticks(now)+l.depth)) {\n\t\t\treturn\n"},
	{"a change of rate that fills the bucket", "bucket.go", "next.word.Store(min(lack, latest) | word&waits)", "next.word.Store(word & waits)"},
	{"a window that reopens", "quota.go", "case w.Number < s.number:\n\t\treturn false", "case w.Number < s.number-1:\n\t\treturn false"},
	{"a slice that the next window keeps", "quota.go", "next = newSlice(Window{Number: s.number + 1, End: math.MaxInt64}, 0)", "next = newSlice(Window{Number: s.number + 1, End: math.MaxInt64}, s.left.Load())"},
	{"a used up window that waits for its owner", "quota.go", "case s.usedUp.Load():\n\t\treturn Refuse, s.end.Load()\n\tcase lack == LackAllows", "case lack == LackAllows"},
	{"a refusal that is charged where there was room", "chain.go", "if answer == Go {\n\t\t\tcontinue\n\t\t}\n\t\tif !single {", "if answer == Go {\n\t\t\tl.take(now, n, single)\n\t\t\tcontinue\n\t\t}\n\t\tif !single {"},
	{"DROP that beats CLOSE", "chain.go", "return l.Reaction > best.Limit.Reaction", "return l.Reaction < best.Limit.Reaction"},
	{"a limit on observe that refuses", "chain.go", "if l.Observe {\n\t\t\tobserving", "if l.Observe && l != limits[0] {\n\t\t\tobserving"},
	{"a direction that is not looked at", "limit.go", "if direction != Both && direction != d.Direction {", "if direction != Both && direction != d.Direction && unit == Bytes {"},
	{"a newcomer that goes before those who wait", "line.go", "case w.chain != c || w.had&(1<<i) == 0:\n\t\treturn Wait, at", "case w.chain != c || w.had&(1<<i) == 0:\n\t\treturn answer, at"},
	{"a quick newcomer that goes before those who wait", "step.go", "from := max(word, at)", "from := max(fullAt(word), at)"},
	{"a quick newcomer that goes before those who wait for a quota", "step.go", " || !of.plain.Load()", ""},
	{"a quick take of what a slice does not have", "step.go", "if left < n || left-n <= of.low.Load() ||", "if left-n <= of.low.Load() ||"},
	{"a quick take that keeps a low mark to itself", "step.go", "if left < n || left-n <= of.low.Load() ||", "if left < n ||"},
	{"a turn that takes all there is", "line.go", "room/int64(l.waiting.Load())", "room"},
	{"a seat too many", "seats.go", "func (s *Seats) isFull() bool {\n\tif s.taken < s.terms.Most {", "func (s *Seats) isFull() bool {\n\tif s.taken <= s.terms.Most {"},
	{"the newest that gives way for the oldest", "seats.go", "replaced = s.oldest", "replaced = s.newest"},
	{"a seat that is given back twice", "seats.go", "if seat.seats == s {\n\t\ts.remove(seat)", "if seat.seats == s {\n\t\ts.remove(seat)\n\t} else {\n\t\ts.taken--"},
}

// TestPlantedFaults plants one fault after the other, and runs the sequences that
// TestSequences and TestSeats run: they must find each.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*--- FAIL: Test(Sequences|Seats)\b`)
	for _, f := range planted {
		source, err := os.ReadFile(f.file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), f.text); n != 1 {
			t.Errorf("%s: the text is in %s %d times, want once", f.name, f.file, n)
			continue
		}
		with := filepath.Join(t.TempDir(), f.file)
		write(t, with, []byte(strings.Replace(string(source), f.text, f.fault, 1)))
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(folder, f.file): with}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "overlay.json")
		write(t, file, overlay)
		run := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=off", "-timeout=2m", "-overlay", file, "-run", "^(TestSequences|TestSeats)$", ".")
		out, err := run.CombinedOutput()
		if err == nil || !found.Match(out) {
			t.Errorf("%s was not found: %v\n%s", f.name, err, out)
		}
	}
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
