package run

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// print writes the configuration as a file that -config takes: each flag with what gave
// its value. A default that is found only when the program runs, and a secret, are
// comments.
func (s *settings) print(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# The configuration of %s %s. -config takes it as a file.\n", s.program.Name, Version())
	var failed error
	s.flags.VisitAll(func(f *flag.Flag) {
		if f.Name == configFlag || onlyCommandLine(f.Name) {
			return
		}
		line, err := s.line(f)
		if err != nil {
			failed = err
		}
		out.WriteString(line)
	})
	if failed != nil {
		return failed
	}
	_, err := w.Write(out.Bytes())
	return err
}

// line returns the line of a flag.
func (s *settings) line(f *flag.Flag) (string, error) {
	value := f.Value.String()
	g, isGiven := s.running[f.Name]
	if public, ok := f.Value.(Public); ok && public.CheckPublic(value) != nil {
		return fmt.Sprintf("# %s: a secret, which is not shown (%s)\n", f.Name, g.by), nil
	}
	by := g.by
	if !isGiven {
		if value != f.DefValue {
			return fmt.Sprintf("# %s: %s (default)\n", f.Name, f.DefValue), nil
		}
		by = "default"
	}
	pair := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: f.Name}, node(f, value)}}
	text, err := yaml.Marshal(pair)
	return strings.TrimSuffix(string(text), "\n") + " # " + by + "\n", err
}

// node returns how YAML has a flag's value.
func node(f *flag.Flag, value string) *yaml.Node {
	if _, ok := f.Value.(List); ok {
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for member := range strings.SplitSeq(value, ",") {
			if member = strings.TrimSpace(member); member != "" {
				n.Content = append(n.Content, scalar("!!str", member))
			}
		}
		return n
	}
	got, _ := f.Value.(flag.Getter)
	if isBool(f) {
		return scalar("!!bool", value)
	}
	if got != nil {
		switch got.Get().(type) {
		case int, int64, uint, uint64:
			return scalar("!!int", value)
		case float64:
			return scalar("!!float", value)
		}
	}
	return scalar("!!str", value)
}

// scalar returns a value in one line.
func scalar(tag, value string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
	if strings.ContainsAny(value, "\n\r") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// explain returns a line of an error, with what gave a flag the value that the line is
// about, unless that was the command line.
func (s *settings) explain(line string) string {
	dashed, _, ok := strings.Cut(line, ": ")
	name, isFlag := strings.CutPrefix(dashed, "-")
	g, isGiven := s.running[name]
	if !ok || !isFlag || !isGiven || g.by == dashed {
		return line
	}
	if g.inFile {
		return line + " (set in " + g.by + ")"
	}
	return line + " (set by " + g.by + ")"
}
