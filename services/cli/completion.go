package cli

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// The scripts by which shells ask for completions; what they show comes from complete.
var (
	//go:embed completion/bash
	bashCompletion string
	//go:embed completion/zsh
	zshCompletion string
	//go:embed completion/fish
	fishCompletion string
)

// completionCmd prints a shell's script.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help says how each shell takes the script.
func (completionCmd) Help() string {
	return "bash: source <(tidegate completion bash)\n\nzsh: source <(tidegate completion zsh), after compinit\n\nfish: tidegate completion fish | source"
}

// Run prints the script.
func (c *completionCmd) Run(s *shell) error {
	_, err := fmt.Fprint(s.Stdout, map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell])
	return err
}

// completeCmd is what the scripts call: it prints what the last word may become, a
// candidate in each line, with a tab and its help behind it. It fails where that is no
// file either.
type completeCmd struct {
	Words []string `arg:"" optional:"" help:"The words after the program's name, to the one that is completed."`
}

// Run prints the candidates.
func (c *completeCmd) Run(ctx context.Context, s *shell, parser *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	all, file := complete(parser.Model, words, func(kind string) []string { return s.names(ctx, kind) })
	for _, found := range all {
		if _, err := fmt.Fprintf(s.Stdout, "%s\t%s\n", found.word, found.help); err != nil {
			return err
		}
	}
	if len(all) == 0 && !file {
		return &exitError{code: exitFailed}
	}
	return nil
}

// candidate is a word that another may become.
type candidate struct{ word, help string }

// complete returns what the last of the words may become, and whether it may be a file.
// names returns the names of what is there, by kind.
func complete(model *kong.Application, words []string, names func(kind string) []string) (all []candidate, file bool) {
	if len(words) == 0 {
		words = []string{""}
	}
	node, flags, argument := model.Node, slices.Clone(model.Flags), 0
	var pending *kong.Flag                  // its value is next
	last, before := words[len(words)-1], "" // before is what is typed of last, before its value
	for _, word := range words[:len(words)-1] {
		switch child := childOf(node, word); {
		case node.Passthrough:
			return nil, true
		case pending != nil:
			pending = nil
		case strings.HasPrefix(word, "-"):
			pending = valueOf(flags, word)
		case child != nil:
			node, flags, argument = child, append(flags, child.Flags...), 0
		default:
			argument++
		}
	}
	if flag, value, ok := strings.Cut(last, "="); ok && pending == nil && strings.HasPrefix(flag, "--") {
		if pending = valueOf(flags, flag); pending == nil {
			return nil, false
		}
		last, before = value, flag+"="
	}
	switch {
	case node.Passthrough:
		return nil, true
	case pending != nil:
		all, file = values(pending.Value, kindOfFlag(pending.Name), names), isFile(pending.Value)
	case strings.HasPrefix(last, "-"):
		all = flagsOf(flags)
	case len(node.Children) > 0:
		all = childrenOf(node)
	case argumentOf(node, argument) != nil:
		value := argumentOf(node, argument)
		all, file = values(value, kindOfArgument(node, value.Name), names), isFile(value)
	}
	printsCSV := slices.Contains(csvCommands(), strings.TrimPrefix(node.Path(), model.Name+" "))
	all = slices.DeleteFunc(all, func(c candidate) bool {
		return !strings.HasPrefix(c.word, last) || c.word == formatCSV && !printsCSV
	})
	for i := range all {
		all[i].word = before + all[i].word
	}
	return all, file
}

// childOf returns the command of a group with this name, or nil.
func childOf(group *kong.Node, name string) *kong.Node {
	for _, child := range group.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// argumentOf returns the argument of a command at a position, or nil where it takes no more.
func argumentOf(command *kong.Node, at int) *kong.Value {
	if n := len(command.Positional); n > 0 && at >= n && command.Positional[n-1].IsCumulative() {
		at = n - 1
	}
	if at >= len(command.Positional) {
		return nil
	}
	return command.Positional[at]
}

// childrenOf returns the commands of a group.
func childrenOf(group *kong.Node) []candidate {
	var all []candidate
	for _, child := range group.Children {
		if !child.Hidden {
			all = append(all, candidate{child.Name, child.Help})
		}
	}
	return all
}

// valueOf returns the flag that a word is, if its value is in the next word.
func valueOf(flags []*kong.Flag, word string) *kong.Flag {
	for _, f := range flags {
		if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
			if f.IsBool() {
				return nil
			}
			return f
		}
	}
	return nil
}

// flagsOf returns flags by their names.
func flagsOf(flags []*kong.Flag) []candidate {
	var all []candidate
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		all = append(all, candidate{"--" + f.Name, f.Help})
		if f.Tag.Negatable != "" {
			all = append(all, candidate{"--no-" + f.Name, f.Help})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.word, b.word) })
	return all
}

// values returns the values that a flag or argument may have: those of its enum, or the
// names of a kind.
func values(v *kong.Value, kind string, names func(kind string) []string) []candidate {
	if v.Enum == "" {
		return plain(names(kind))
	}
	return plain(slices.DeleteFunc(v.EnumSlice(), func(value string) bool { return value == "" }))
}

// isFile reports whether a flag or argument takes a file or folder.
func isFile(v *kong.Value) bool {
	switch v.Tag.PlaceHolder {
	case "FILE", "@FILE", "DIR", "FOLDER":
		return true
	}
	return v.Name == "dir"
}

// plain returns candidates without help.
func plain(words []string) []candidate {
	var all []candidate
	for _, word := range words {
		all = append(all, candidate{word: word})
	}
	return all
}
