package limits

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/faulttest"
)

var planted = []faulttest.Fault{
	{Name: "a bucket that is one token deeper", File: "bucket.go", Text: "<= l.depth-cost", Fault: "<= l.depth+l.token-cost"},
	{Name: "a token that is rounded down", File: "bucket.go", Text: "return (ticks-1)/r.Amount + 1", Fault: "return ticks / r.Amount"},
	{Name: "a refill that is counted from the last take", File: "bucket.go", Text: "return min(max(fullAt(word), l.ticks(now))+l.cost(n), latest)", Fault: "return min(fullAt(word)+l.cost(n), latest)"},
	{Name: "a great message that an empty bucket takes", File: "bucket.go", Text: "return whole && full <= at", Fault: "return whole"},
	{Name: "frames that are not charged into debt", File: "bucket.go", Text: "l.swap(word, l.after(now, word, n)) {\n\t\t\treturn\n", Fault: "l.swap(word, min(l.after(now, word, n), l.ticks(now)+l.depth)) {\n\t\t\treturn\n"},
	{Name: "a change of rate that fills the bucket", File: "bucket.go", Text: "next.word.Store(min(lack, latest) | word&waits)", Fault: "next.word.Store(word & waits)"},
	{Name: "a window that reopens", File: "quota.go", Text: "case w.Number < s.number:\n\t\treturn false", Fault: "case w.Number < s.number-1:\n\t\treturn false"},
	{Name: "a slice that the next window keeps", File: "quota.go", Text: "next = newSlice(Window{Number: s.number + 1, End: math.MaxInt64}, 0)", Fault: "next = newSlice(Window{Number: s.number + 1, End: math.MaxInt64}, s.left.Load())"},
	{Name: "a used up window that waits for its owner", File: "quota.go", Text: "case s.usedUp.Load():\n\t\treturn Refuse, s.end.Load()\n\tcase lack == LackAllows", Fault: "case lack == LackAllows"},
	{Name: "a refusal that is charged where there was room", File: "chain.go", Text: "if answer == Go {\n\t\t\tcontinue\n\t\t}\n\t\tif !single {", Fault: "if answer == Go {\n\t\t\tl.take(now, n, single)\n\t\t\tcontinue\n\t\t}\n\t\tif !single {"},
	{Name: "DROP that beats CLOSE", File: "chain.go", Text: "return l.Reaction > best.Limit.Reaction", Fault: "return l.Reaction < best.Limit.Reaction"},
	{Name: "a limit on observe that refuses", File: "chain.go", Text: "if l.Observe {\n\t\t\tobserving", Fault: "if l.Observe && l != limits[0] {\n\t\t\tobserving"},
	{Name: "a direction that is not looked at", File: "limit.go", Text: "if direction != Both && direction != d.Direction {", Fault: "if direction != Both && direction != d.Direction && unit == Bytes {"},
	{Name: "a newcomer that goes before those who wait", File: "line.go", Text: "case w.chain != c || w.had&(1<<i) == 0:\n\t\treturn Wait, at", Fault: "case w.chain != c || w.had&(1<<i) == 0:\n\t\treturn answer, at"},
	{Name: "a quick newcomer that goes before those who wait", File: "step.go", Text: "from := max(word, at)", Fault: "from := max(fullAt(word), at)"},
	{Name: "a quick newcomer that goes before those who wait for a quota", File: "step.go", Text: " || !of.plain.Load()", Fault: ""},
	{Name: "a quick take of what a slice does not have", File: "step.go", Text: "if left < n || left-n <= of.low.Load() ||", Fault: "if left-n <= of.low.Load() ||"},
	{Name: "a quick take that keeps a low mark to itself", File: "step.go", Text: "if left < n || left-n <= of.low.Load() ||", Fault: "if left < n ||"},
	{Name: "a turn that takes all there is", File: "line.go", Text: "room/int64(l.waiting.Load())", Fault: "room"},
	{Name: "a seat too many", File: "seats.go", Text: "func (s *Seats) isFull() bool {\n\tif s.taken < s.terms.Most {", Fault: "func (s *Seats) isFull() bool {\n\tif s.taken <= s.terms.Most {"},
	{Name: "the newest that gives way for the oldest", File: "seats.go", Text: "replaced = s.oldest", Fault: "replaced = s.newest"},
	{Name: "a seat that is given back twice", File: "seats.go", Text: "if seat.seats == s {\n\t\ts.remove(seat)", Fault: "if seat.seats == s {\n\t\ts.remove(seat)\n\t} else {\n\t\ts.taken--"},
}

// TestPlantedFaults plants one fault after the other, and runs the sequences that
// TestSequences and TestSeats run: they must find each.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	faulttest.Find(t, planted, "TestSequences", "TestSeats")
}
