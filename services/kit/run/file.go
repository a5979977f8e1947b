package run

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	configFlag  = "config"
	printFlag   = "print-config"
	versionFlag = "version"
)

// onlyCommandLine reports whether a flag asks for something once, and so belongs on
// the command line alone.
func onlyCommandLine(name string) bool { return name == printFlag || name == versionFlag }

// inFile returns what a configuration file gives, in its order; path is its name. It is
// YAML, and its keys are the names of flags: gateway.ping, or ping in a map gateway. All
// mistakes are joined, and none quotes a value.
func inFile(path string, text []byte, fs *flag.FlagSet) ([]given, error) {
	r := reader{path: path, fs: fs, lines: map[string]int{}}
	docs := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := docs.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // nothing but comments
	case err != nil:
		return nil, r.syntax(err)
	}
	if doc.Content[0].ShortTag() != "!!null" { // not only "---"
		r.object("", doc.Content[0])
	}
	if err := docs.Decode(new(yaml.Node)); err == nil {
		r.fail(doc.Content[0], "", "only one document may be in the file")
	} else if !errors.Is(err, io.EOF) {
		return nil, r.syntax(err)
	}
	return r.all, errors.Join(r.wrong...)
}

// reader reads a configuration file.
type reader struct {
	path  string
	fs    *flag.FlagSet
	all   []given
	lines map[string]int // where a flag was given
	wrong []error
}

// fail notes a mistake of the key at a node.
func (r *reader) fail(at *yaml.Node, key, format string, a ...any) {
	if key != "" {
		key += ": "
	}
	r.wrong = append(r.wrong, fmt.Errorf("%s:%d: %s%w", r.path, at.Line, key, fmt.Errorf(format, a...)))
}

// syntax returns the error for a file that is no YAML.
func (r *reader) syntax(err error) error {
	if m := regexp.MustCompile(`^yaml: line (\d+): (.*)$`).FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: not YAML: %s", r.path, m[1], m[2])
	}
	return fmt.Errorf("%s: not YAML: %s", r.path, strings.TrimPrefix(err.Error(), "yaml: "))
}

// object reads a map whose keys follow start.
func (r *reader) object(start string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, strings.TrimSuffix(start, "."), "want a map of flags, as log-level: debug")
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		r.pair(start+n.Content[i].Value, n.Content[i], n.Content[i+1])
	}
}

// pair reads a key and what it is given.
func (r *reader) pair(name string, key, value *yaml.Node) {
	f, flags := r.fs.Lookup(name), names(r.fs)
	switch {
	case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
		r.fail(key, "", "a key is the name of a flag")
	case f == nil && slices.Contains(parents(flags), name):
		r.object(name+".", value)
	case f == nil:
		r.fail(key, name, "unknown key%s", meant(name, append(flags, parents(flags)...), func(f string) string { return f }))
	case name == configFlag || onlyCommandLine(name):
		r.fail(key, name, "cannot be set in a file")
	case r.lines[name] > 0:
		r.fail(key, name, "is set already in line %d", r.lines[name])
	default:
		text, err := text(f, value)
		if err != nil {
			r.fail(value, name, "%w", err)
			return
		}
		r.lines[name] = key.Line
		r.all = append(r.all, given{flag: name, text: text, by: fmt.Sprintf("%s:%d", r.path, key.Line), inFile: true})
	}
}

// text returns what a flag is given, as it would be on the command line.
func text(f *flag.Flag, n *yaml.Node) (string, error) {
	_, isList := f.Value.(List)
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return "", errors.New(`has no value; "" is the empty one`)
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind == yaml.SequenceNode && isList:
		var members []string
		for _, m := range n.Content {
			if m.Kind != yaml.ScalarNode || m.ShortTag() == "!!null" || m.Value == "" || strings.Contains(m.Value, ",") {
				return "", errors.New("each member of the list is one text without a comma")
			}
			members = append(members, m.Value)
		}
		return strings.Join(members, ","), nil
	case n.Kind == yaml.AliasNode:
		return "", errors.New("an alias is not followed; write the value")
	case isList:
		return "", errors.New("want a list")
	}
	return "", errors.New("want one value")
}
