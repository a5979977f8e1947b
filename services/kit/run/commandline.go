package run

import (
	"errors"
	"flag"
	"fmt"
	"strings"
)

// commandLine returns what the command line gives. All its mistakes are joined.
func commandLine(fs *flag.FlagSet, args []string) ([]given, error) {
	var all []given
	var wrong []error
	after := "" // the unknown flag before, whose value the next argument probably is
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		dashed, isFlag := strings.CutPrefix(arg, "-")
		if !isFlag || dashed == "" {
			if after == "" {
				wrong = append(wrong, unexpected(arg))
			}
			after = ""
			continue
		}
		after = ""
		name, text, hasText := strings.Cut(strings.TrimPrefix(dashed, "-"), "=")
		f := fs.Lookup(name)
		switch {
		case f == nil && (name == "h" || name == "help"):
			return nil, flag.ErrHelp
		case name == "" || name[0] == '-':
			wrong = append(wrong, fmt.Errorf("bad flag syntax: %s", arg))
			continue
		case f == nil:
			wrong = append(wrong, fmt.Errorf("unknown flag -%s%s", name, meant(name, names(fs), func(f string) string { return "-" + f })))
			if !hasText {
				after = name
			}
			continue
		case hasText:
		case isBool(f):
			text = "true"
		case len(args) == 0:
			wrong = append(wrong, fmt.Errorf("-%s: needs a value", name))
			continue
		default:
			text, args = args[0], args[1:]
		}
		all = append(all, given{flag: name, text: text, by: "-" + name, public: true})
	}
	return all, errors.Join(wrong...)
}

// unexpected returns the error for an argument that is no flag's. One that may be a
// URL with a password in it is not quoted.
func unexpected(arg string) error {
	if strings.Contains(arg, "@") {
		return errors.New("unexpected argument, which is not shown because it may have a password in it")
	}
	return fmt.Errorf("unexpected argument %q", arg)
}

// names returns the names of all flags.
func names(fs *flag.FlagSet) []string {
	var all []string
	fs.VisitAll(func(f *flag.Flag) { all = append(all, f.Name) })
	return all
}
