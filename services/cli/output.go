package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// printJSON prints a message as REST would send it.
func (s *shell) printJSON(m proto.Message) error {
	text, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return s.printIndented(text)
}

// printValue prints a value that is not a message as JSON.
func (s *shell) printValue(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return s.printIndented(text)
}

func (s *shell) printIndented(text []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	b.WriteByte('\n')
	_, err := s.Stdout.Write(b.Bytes())
	return err
}

// printTable prints rows under a line of titles.
func (s *shell) printTable(titles []string, rows [][]string) error {
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// printFields prints one thing, one field per line.
func (s *shell) printFields(fields ...[2]string) error {
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		fmt.Fprintf(w, "%s\t%s\n", f[0], cell(f[1]))
	}
	return w.Flush()
}

// cell makes other users' text safe to print, because control characters could drive
// the terminal, and those that turn the direction of writing make one text look like
// another. An empty text becomes "-".
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// when prints a time.
func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Local().Format(time.RFC3339)
}

// word prints an enum's value without the enum's name: STATE_PUBLISHED as
// published.
func word(value fmt.Stringer, prefix string) string {
	text := strings.TrimPrefix(value.String(), prefix)
	return strings.ToLower(strings.ReplaceAll(text, "_", " "))
}
