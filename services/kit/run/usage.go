package run

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	// columns is how wide a terminal is expected to be.
	columns = 80
	// together is how many flags with one first word get a heading.
	together = 3
)

// usage prints all flags with their defaults and variables: those of a service of
// tidegate serve, or with one first word, such as grpc, under a heading.
func usage(p Program, fs *flag.FlagSet) {
	fmt.Fprintf(p.Stdout, `Usage of %s

A flag can also be a key in the YAML file that -config names, such as
log-level: debug, or a variable, such as %s=debug.
Variables take precedence over the file, and the command line over both.
`, p.Name, Variable(p.Name, levelFlag))
	all := names(fs)
	headed := map[string][]string{}
	for _, name := range all {
		headed[heading(all, name)] = append(headed[heading(all, name)], name)
	}
	for _, title := range slices.Sorted(maps.Keys(headed)) {
		fmt.Fprintln(p.Stdout)
		if title != "" {
			fmt.Fprintf(p.Stdout, "%s\n\n", title)
		}
		for _, name := range headed[title] {
			describe(p.Stdout, p.Name, fs.Lookup(name))
		}
	}
}

// heading returns what a flag stands under, "" for the flags that begin the list.
func heading(all []string, name string) string {
	if service, _, ok := strings.Cut(name, "."); ok {
		return "-" + service + ".…"
	}
	if len(parents(all)) > 0 {
		return "" // of tidegate serve, the services are headings enough
	}
	word, _, _ := strings.Cut(name, "-")
	same := 0
	for _, other := range all {
		if other == word || strings.HasPrefix(other, word+"-") {
			same++
		}
	}
	if same < together {
		return ""
	}
	return "-" + word + "…"
}

// describe prints a flag.
func describe(w io.Writer, program string, f *flag.Flag) {
	kind, help := flag.UnquoteUsage(f)
	fmt.Fprintln(w, strings.TrimRight("  -"+f.Name+" "+kind, " "))
	var about []string
	if f.DefValue != "" && f.DefValue != "false" {
		about = append(about, "default "+f.DefValue)
	}
	if !onlyCommandLine(f.Name) {
		about = append(about, Variable(program, f.Name))
	}
	wrap(w, "      ", help)
	wrap(w, "      ", strings.Join(about, "; "))
}

// wrap prints a text in lines that fit a terminal, each after indent.
func wrap(w io.Writer, indent, text string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(indent)+len([]rune(line))+1+len([]rune(word)) > columns {
			fmt.Fprintln(w, indent+line)
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" {
		fmt.Fprintln(w, indent+line)
	}
}
