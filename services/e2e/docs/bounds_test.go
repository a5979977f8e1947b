package docs

import (
	"flag"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bound is a row of docs/bounds.md: a flag of some programs, or none.
type bound struct {
	line     string
	programs []string
	flag     string
	value    string // the default
}

// bounds reads the table of docs/bounds.md.
func bounds(t *testing.T) []bound {
	t.Helper()
	var rows []bound
	for line := range strings.Lines(file(t, "docs/bounds.md")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 2 || strings.Contains(line, "|---|") || strings.HasPrefix(line, "| what is bounded") {
			continue
		}
		if len(cells) != 6 {
			t.Errorf("docs/bounds.md has the row %q, want four columns", line)
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
			if cells[i] == "" && i > 0 && i < 5 {
				t.Errorf("docs/bounds.md has the row %q, which leaves a column empty", line)
			}
		}
		b := bound{line: line, value: cells[3]}
		if m := regexp.MustCompile("^([a-z, ]+) `-([a-z-]+)`").FindStringSubmatch(cells[2]); m != nil {
			b.programs, b.flag = strings.Split(m[1], ", "), m[2]
		} else if !strings.HasPrefix(cells[2], "none") {
			t.Errorf("docs/bounds.md has the row %q, want PROGRAM `-FLAG` or none", line)
		}
		rows = append(rows, b)
	}
	return rows
}

// TestBounds compares docs/bounds.md with the programs: their flags, with the defaults,
// and that every flag whose name begins with max- stands there.
func TestBounds(t *testing.T) {
	rows := bounds(t)
	if len(rows) < 40 {
		t.Fatalf("docs/bounds.md has %d rows", len(rows))
	}
	for _, row := range rows {
		for _, program := range row.programs {
			if !slices.Contains(append(Services(), "tidegate"), program) {
				t.Errorf("docs/bounds.md names the program %q in %q", program, row.line)
				continue
			}
			f := Flags(program).Lookup(row.flag)
			if f == nil {
				t.Errorf("docs/bounds.md names %s -%s, which does not exist", program, row.flag)
				continue
			}
			if want := written(f.DefValue); !beginsWith(row.value, want) {
				t.Errorf("docs/bounds.md says that %s -%s is %q by default, want %q at its beginning", program, row.flag, row.value, want)
			}
		}
	}
	for _, program := range Services() {
		Flags(program).VisitAll(func(f *flag.Flag) {
			there := slices.ContainsFunc(rows, func(b bound) bool { return b.flag == f.Name && slices.Contains(b.programs, program) })
			if strings.HasPrefix(f.Name, "max-") && !there {
				t.Errorf("docs/bounds.md has no row of %s `-%s`", program, f.Name)
			}
		})
	}
}

// beginsWith reports whether a text begins with one of the forms, as whole words.
func beginsWith(text string, forms []string) bool {
	return slices.ContainsFunc(forms, func(form string) bool {
		rest, ok := strings.CutPrefix(text, form)
		return ok && (rest == "" || strings.ContainsAny(rest[:1], " ,;:"))
	})
}

// written returns how documents write a number or a duration, given as the flag package
// prints it.
func written(value string) []string {
	if value == "0" || value == "0s" {
		return []string{"none", "no limit", "off", "unlimited", "0"}
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return append(units(n, map[string]int64{"MiB": 1 << 20, "KiB": 1 << 10}), value)
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return []string{value}
	}
	return units(int64(d), map[string]int64{
		"days": int64(24 * time.Hour), "day": int64(24 * time.Hour), "h": int64(time.Hour), "hours": int64(time.Hour), "hour": int64(time.Hour),
		"min": int64(time.Minute), "minutes": int64(time.Minute), "minute": int64(time.Minute),
		"s": int64(time.Second), "seconds": int64(time.Second), "second": int64(time.Second), "ms": int64(time.Millisecond),
	})
}

// units returns a number in each unit that it is a multiple of.
func units(n int64, all map[string]int64) (forms []string) {
	for name, size := range all {
		if n%size == 0 {
			forms = append(forms, strconv.FormatInt(n/size, 10)+" "+name)
		}
	}
	return forms
}
