package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Output formats. The table is for people, CSV for spreadsheets; the others have the whole
// object.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatCSV   = "csv"
)

// csvCommands are the commands that print CSV.
func csvCommands() []string { return []string{"usage", "quota list", "quota events"} }

// whole reports whether results are printed as whole objects, in JSON or YAML.
func (s *shell) whole() bool { return s.global.Output == formatJSON || s.global.Output == formatYAML }

// printCSV prints rows under a line of titles as RFC 4180 has them, but with lines that end
// as they do on Unix. Text that a spreadsheet would run as a formula gets a "'" in front.
func (s *shell) printCSV(titles []string, rows [][]string) error {
	w := csv.NewWriter(s.Stdout)
	if err := w.Write(titles); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	for _, row := range rows {
		for i, text := range row {
			if text != "" {
				row[i] = noFormula(cell(text))
			}
		}
		if err := w.Write(row); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	w.Flush()
	return w.Error()
}

// noFormula makes other users' text one that no spreadsheet takes for a formula.
func noFormula(text string) string {
	if strings.ContainsAny(text[:1], "=+-@") {
		return "'" + text
	}
	return text
}

// printWhole prints a message as REST has it, in JSON or YAML.
func (s *shell) printWhole(m proto.Message) error {
	text, err := marshal(m)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return printText(s.Stdout, s.global.Output, text)
}

// printValue prints a value that is not a message in JSON or YAML.
func (s *shell) printValue(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return printText(s.Stdout, s.global.Output, text)
}

// marshal returns a message as JSON, with the fields that are not set.
func marshal(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
}

// printText prints JSON text, indented or as YAML with its fields in the same order.
func printText(w io.Writer, format string, text []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, escape(text), "", "  "); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	b.WriteByte('\n')
	if format == formatYAML {
		var doc yaml.Node // JSON is YAML
		if err := yaml.Unmarshal(b.Bytes(), &doc); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		b.Reset()
		encoder := yaml.NewEncoder(&b)
		encoder.SetIndent(2)
		if err := encoder.Encode(plainStyle(&doc)); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	_, err := w.Write(escape(b.Bytes())) // once more, for YAML writes as they are what JSON has escaped
	return err
}

// escape writes characters of strings in JSON as \u… that could drive the terminal, turn
// the direction of writing, or are not allowed in YAML.
func escape(text []byte) []byte {
	var b []byte
	for _, r := range string(text) {
		if r >= ' ' && (drives(r) || r >= 0xfffe && r <= 0xffff) || r == '\ufeff' {
			b = fmt.Appendf(b, `\u%04x`, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// plainText is text that every version of YAML reads as text without quotes, but for the
// words of notText.
var (
	plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*$`)
	notText   = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null)$`)
)

// plainStyle takes JSON's brackets from a node, and its quotes where YAML needs none.
func plainStyle(n *yaml.Node) *yaml.Node {
	if n.Style = 0; n.Tag == "!!str" && (!plainText.MatchString(n.Value) || notText.MatchString(n.Value)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, inner := range n.Content {
		plainStyle(inner)
	}
	return n
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
		if drives(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// drives reports whether a character could drive the terminal, or turns the direction of
// writing.
func drives(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
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
