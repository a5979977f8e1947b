package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// limitFlags are the limits of a plan, each flag one limit.
type limitFlags struct {
	Rate        []string `sep:"none" placeholder:"UNIT=AMOUNT/TIME" help:"An amount per time, 1s to 1h, as messages=100/1s, bytes=1MiB/1m or handshakes=10/1m; after it, with commas: burst=AMOUNT, from-client or from-backend, per-connection, pause (the default), drop or close, longest-pause=30s, observe, name=NAME. Can be repeated."`
	Quota       []string `sep:"none" placeholder:"UNIT=AMOUNT/WINDOW" help:"An amount per minute, hour, day, week or month in UTC, as messages=5000/day, bytes=1GiB/month or sessions=100/hour; after it, with commas: drop (the default) or close, on-outage=refuse (default: allow), observe, name=NAME. Can be repeated."`
	Connections []string `sep:"none" placeholder:"MOST" help:"Connections at once, as 100; after it, with commas: refuse (the default) or close-oldest, observe, name=NAME."`
	MessageSize []string `sep:"none" placeholder:"BYTES" help:"The greatest message, as 64KiB; after it name=NAME."`
	SessionAge  []string `sep:"none" placeholder:"DURATION" help:"The greatest age of a session, as 12h; after it name=NAME."`
}

// givenLimit is a limit and the flag that gave it, for errors.
type givenLimit struct {
	flag  string
	limit *catalogv1.Limit
}

// limits returns the limits that the flags describe.
func (f *limitFlags) limits() ([]givenLimit, error) {
	var all []givenLimit
	for _, kind := range []struct {
		flag   string
		texts  []string
		parse  func(head string, l *catalogv1.Limit) error
		option func(o limitOption, l *catalogv1.Limit) (known bool, err error)
		words  string
	}{
		{"--rate", f.Rate, parseRate, rateOption, "burst=AMOUNT, from-client, from-backend, per-connection, pause, drop, close, refuse, longest-pause=TIME, observe, name=NAME"},
		{"--quota", f.Quota, parseQuota, quotaOption, "drop, close, refuse, on-outage=allow, on-outage=refuse, observe, name=NAME"},
		{"--connections", f.Connections, parseConnections, reactionOption("refuse", "close-oldest"), "refuse, close-oldest, observe, name=NAME"},
		{"--message-size", f.MessageSize, parseMessageSize, reactionOption("close"), "close, name=NAME"},
		{"--session-age", f.SessionAge, parseSessionAge, reactionOption("close"), "close, name=NAME"},
	} {
		for _, text := range kind.texts {
			l := &catalogv1.Limit{}
			parts := strings.Split(text, ",")
			if err := kind.parse(parts[0], l); err != nil {
				return nil, usagef("%s: %v", kind.flag, err)
			}
			for _, part := range parts[1:] {
				o := limitOptionOf(part)
				known, err := commonOption(o, l), error(nil)
				if !known {
					known, err = kind.option(o, l)
				}
				if err != nil {
					return nil, usagef("%s: %v", kind.flag, err)
				}
				if !known {
					return nil, usagef("%s: %q is none of %s", kind.flag, part, kind.words)
				}
			}
			all = append(all, givenLimit{kind.flag + " " + text, l})
		}
	}
	return all, nil
}

// limitOption is a word behind a limit, or NAME=VALUE.
type limitOption struct {
	name, value string
	has         bool // a value
}

func limitOptionOf(text string) limitOption {
	name, value, has := strings.Cut(strings.TrimSpace(text), "=")
	return limitOption{name, value, has}
}

// commonOption takes what every limit may have, and reports whether it is that.
func commonOption(o limitOption, l *catalogv1.Limit) bool {
	switch {
	case o.name == "name" && o.has:
		l.Name = o.value
	case o == limitOption{name: "observe"}:
		l.Observe = true
	default:
		return false
	}
	return true
}

// reactionOption returns what takes one of these reactions.
func reactionOption(words ...string) func(limitOption, *catalogv1.Limit) (bool, error) {
	return func(o limitOption, l *catalogv1.Limit) (bool, error) {
		if o.has || !slices.Contains(words, o.name) {
			return false, nil
		}
		if l.GetReaction() != 0 {
			return true, fmt.Errorf("%s and %s: give one of them", reactionWord(l.GetReaction()), o.name)
		}
		name := "REACTION_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
		l.Reaction = catalogv1.Limit_Reaction(catalogv1.Limit_Reaction_value[name])
		return true, nil
	}
}

// reactionWord is a reaction as flags have it.
func reactionWord(r catalogv1.Limit_Reaction) string {
	return strings.ReplaceAll(word(r, "REACTION_"), " ", "-")
}

// parseRate reads messages=100/1s.
func parseRate(text string, l *catalogv1.Limit) error {
	unit, amount, per, ok := ratio(text)
	r := &catalogv1.Rate{Unit: unitOf(unit)}
	if !ok || !slices.Contains([]catalogv1.Unit{catalogv1.Unit_UNIT_MESSAGES, catalogv1.Unit_UNIT_BYTES, catalogv1.Unit_UNIT_HANDSHAKES}, r.GetUnit()) {
		return fmt.Errorf("%q is not UNIT=AMOUNT/TIME with messages, bytes or handshakes, as messages=100/1s", text)
	}
	var err error
	if r.Amount, err = amountOf(amount, r.GetUnit()); err != nil {
		return err
	}
	if per == "s" || per == "m" || per == "h" {
		per = "1" + per
	}
	d, err := duration(per)
	if err != nil || d < time.Second || d > time.Hour {
		return fmt.Errorf("the time %q is not 1s to 1h, as in messages=100/1s", per)
	}
	r.Per = durationpb.New(d)
	l.Kind = &catalogv1.Limit_Rate{Rate: r}
	return nil
}

// rateOption takes what only rates have.
func rateOption(o limitOption, l *catalogv1.Limit) (bool, error) {
	r := l.GetRate()
	switch {
	case o.name == "burst" && o.has:
		n, err := amountOf(o.value, r.GetUnit())
		r.Burst = n
		return true, err
	case o.name == "longest-pause" && o.has:
		d, err := duration(o.value)
		if err != nil || d < time.Second || d > 10*time.Minute {
			return true, fmt.Errorf("longest-pause: %q is not 1s to 10m, as longest-pause=30s", o.value)
		}
		r.LongestPause = durationpb.New(d)
	case o == limitOption{name: "per-connection"}:
		r.PerConnection = true
	case o == limitOption{name: "from-client"}, o == limitOption{name: "from-backend"}:
		if r.GetDirection() != 0 {
			return true, fmt.Errorf("from-client and from-backend: give one of them, or none for both directions together")
		}
		r.Direction = catalogv1.Direction_DIRECTION_FROM_CLIENT
		if o.name == "from-backend" {
			r.Direction = catalogv1.Direction_DIRECTION_FROM_BACKEND
		}
	default:
		return reactionOption("pause", "drop", "close", "refuse")(o, l)
	}
	return true, nil
}

// parseQuota reads messages=5000/day.
func parseQuota(text string, l *catalogv1.Limit) error {
	unit, amount, window, ok := ratio(text)
	q := &catalogv1.Quota{Unit: unitOf(unit)}
	if !ok || !slices.Contains([]catalogv1.Unit{catalogv1.Unit_UNIT_MESSAGES, catalogv1.Unit_UNIT_BYTES, catalogv1.Unit_UNIT_SESSIONS}, q.GetUnit()) {
		return fmt.Errorf("%q is not UNIT=AMOUNT/WINDOW with messages, bytes or sessions, as messages=5000/day", text)
	}
	var err error
	if q.Amount, err = amountOf(amount, q.GetUnit()); err != nil {
		return err
	}
	if q.Window = catalogv1.Quota_Window(catalogv1.Quota_Window_value["WINDOW_"+strings.ToUpper(window)]); q.GetWindow() == 0 {
		return fmt.Errorf("the window %q is none of minute, hour, day, week, month, as in messages=5000/day", window)
	}
	l.Kind = &catalogv1.Limit_Quota{Quota: q}
	return nil
}

// quotaOption takes what only quotas have.
func quotaOption(o limitOption, l *catalogv1.Limit) (bool, error) {
	if o.name != "on-outage" || !o.has {
		return reactionOption("drop", "close", "refuse")(o, l)
	}
	outage := catalogv1.Quota_Outage(catalogv1.Quota_Outage_value["OUTAGE_"+strings.ToUpper(o.value)])
	if outage == 0 {
		return true, fmt.Errorf("on-outage: %q is neither allow nor refuse", o.value)
	}
	l.GetQuota().OnOutage = outage
	return true, nil
}

// parseConnections reads 100.
func parseConnections(text string, l *catalogv1.Limit) error {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of connections of 1 or more, as 100", text)
	}
	l.Kind = &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: int32(n)}}
	return nil
}

// parseMessageSize reads 64KiB.
func parseMessageSize(text string, l *catalogv1.Limit) error {
	n, err := amountOf(text, catalogv1.Unit_UNIT_BYTES)
	l.Kind = &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: n}}
	return err
}

// parseSessionAge reads 12h.
func parseSessionAge(text string, l *catalogv1.Limit) error {
	d, err := duration(text)
	if err != nil || d < time.Second {
		return fmt.Errorf("%q is not a duration of 1s or more, as 12h or 7d", text)
	}
	l.Kind = &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(d)}}
	return nil
}

// ratio divides messages=100/1s.
func ratio(text string) (unit, amount, per string, ok bool) {
	unit, rest, ok1 := strings.Cut(text, "=")
	amount, per, ok2 := strings.Cut(rest, "/")
	return unit, amount, per, ok1 && ok2
}

// unitOf returns the unit that has this word, or 0.
func unitOf(text string) catalogv1.Unit {
	return catalogv1.Unit(catalogv1.Unit_value["UNIT_"+strings.ToUpper(text)])
}

// sizes are the units of bytes, the greatest first.
var sizes = []struct {
	word  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// amountOf reads a number of 1 or more; of bytes also one of KiB, MiB or GiB.
func amountOf(text string, unit catalogv1.Unit) (int64, error) {
	digits, factor, as := text, int64(1), "a number of 1 or more, as 100"
	if unit == catalogv1.Unit_UNIT_BYTES {
		as = "a number of bytes of 1 or more, as 4096, 64KiB, 1MiB or 1GiB"
		for _, size := range sizes {
			if cut, ok := strings.CutSuffix(text, size.word); ok {
				digits, factor = cut, size.bytes
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is not %s", text, as)
	}
	return n * factor, nil
}

// sizeWords is a number of bytes in the greatest unit that leaves no fraction.
func sizeWords(n int64) string {
	for _, size := range sizes {
		if n != 0 && n%size.bytes == 0 {
			return fmt.Sprintf("%d %s", n/size.bytes, size.word)
		}
	}
	return plural(uint64(n), "byte")
}

// amountWords is an amount of a unit, as "100 messages".
func amountWords(n int64, unit catalogv1.Unit) string {
	if unit == catalogv1.Unit_UNIT_BYTES {
		return sizeWords(n)
	}
	return plural(uint64(n), strings.TrimSuffix(word(unit, "UNIT_"), "s"))
}

// limitWords is a limit in words, as "100 messages a second, burst 200 (pause)".
func limitWords(l *catalogv1.Limit) string {
	text, parts, reaction := "", []string(nil), l.GetReaction()
	byDefault := catalogv1.Limit_REACTION_REFUSE
	switch kind := l.GetKind().(type) {
	case *catalogv1.Limit_Rate:
		r := kind.Rate
		text = amountWords(r.GetAmount(), r.GetUnit()) + " " + perWords(r.GetPer().AsDuration())
		if r.GetUnit() != catalogv1.Unit_UNIT_HANDSHAKES {
			byDefault = catalogv1.Limit_REACTION_PAUSE
		}
		if b := r.GetBurst(); b != 0 && b != r.GetAmount() {
			parts = append(parts, "burst "+strings.TrimSuffix(amountWords(b, r.GetUnit()), " "+word(r.GetUnit(), "UNIT_")))
		}
		switch r.GetDirection() {
		case catalogv1.Direction_DIRECTION_FROM_CLIENT:
			parts = append(parts, "from the client")
		case catalogv1.Direction_DIRECTION_FROM_BACKEND:
			parts = append(parts, "from the backend")
		}
		if r.GetPerConnection() {
			parts = append(parts, "each connection")
		}
		if p := r.GetLongestPause(); p != nil && p.AsDuration() != 10*time.Second { // which is the default
			parts = append(parts, "longest pause "+spanWords(p.AsDuration()))
		}
	case *catalogv1.Limit_Quota:
		q := kind.Quota
		text = amountWords(q.GetAmount(), q.GetUnit()) + " " + article(word(q.GetWindow(), "WINDOW_"))
		if q.GetUnit() != catalogv1.Unit_UNIT_SESSIONS {
			byDefault = catalogv1.Limit_REACTION_DROP
		}
		if q.GetOnOutage() == catalogv1.Quota_OUTAGE_REFUSE {
			parts = append(parts, "refused in an outage")
		}
	case *catalogv1.Limit_Connections:
		text = number(int(kind.Connections.GetMost()), nil, "connection", "connections")
	case *catalogv1.Limit_MessageSize:
		text, byDefault = "messages of "+sizeWords(kind.MessageSize.GetBytes()), catalogv1.Limit_REACTION_CLOSE
	case *catalogv1.Limit_SessionAge:
		text, byDefault = "sessions of "+spanWords(kind.SessionAge.GetAge().AsDuration()), catalogv1.Limit_REACTION_CLOSE
	default:
		return "a limit that this program does not know"
	}
	if reaction == 0 {
		reaction = byDefault
	}
	does := reactionWord(reaction)
	if l.GetObserve() {
		does = "observe"
	}
	return strings.Join(append([]string{text}, parts...), ", ") + " (" + does + ")"
}

// planWords are the limits of a plan in words.
func planWords(p *catalogv1.Plan) string {
	words := make([]string, len(p.GetLimits()))
	for i, l := range p.GetLimits() {
		words[i] = limitWords(l)
	}
	return called(strings.Join(words, "; "), "none")
}

// perWords is the time of a rate, as "a second" or "in 10s".
func perWords(d time.Duration) string {
	switch d {
	case time.Second:
		return "a second"
	case time.Minute:
		return "a minute"
	case time.Hour:
		return "an hour"
	}
	return "in " + spanWords(d)
}

// article puts its article before a window.
func article(window string) string {
	if window == "hour" {
		return "an hour"
	}
	return "a " + window
}

// spanWords is a duration without parts that are zero: 12h for 12h0m0s, 7d for a week.
func spanWords(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
