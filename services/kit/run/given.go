package run

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

// given is a value that a flag was given, as text.
type given struct {
	flag, text string
	// by is what gave it: FILE:LINE, a variable or "-" and the flag.
	by string
	// inFile says that by is a place in the configuration file.
	inFile bool
	// public says that other users of the machine can read it there: on the command
	// line, and in a file that they may read.
	public bool
}

// key returns what to call the value in an error.
func (g given) key() string {
	if g.inFile {
		return g.by + ": " + g.flag
	}
	return g.by
}

// settings are the values of a program's flags, and what gave them. What is given
// later takes precedence: the defaults, the configuration file, the environment, the
// command line.
type settings struct {
	program *Program
	flags   *flag.FlagSet
	// mu protects read while the program runs.
	mu sync.Mutex
	// file is the configuration file, and read what was in it; namedBy is the flag or
	// variable that names it. file is empty for none.
	file, namedBy string
	read          []byte
	// outside is what environment and command line give.
	outside []given
	// running has, by flag, what the program runs with; a flag that is not in it has
	// its default.
	running map[string]given
}

// Parse sets the flags of fs from the configuration file, which the flag config names
// if there is one, then from the environment, then from the command line; Variable
// names a flag's variable. All mistakes are returned at once, joined, and each names
// what made it. A flag that is given an invalid value keeps the one it had, and one
// that is Public and must not stand where it does is not quoted.
func Parse(name string, fs *flag.FlagSet, args, env []string) error {
	_, err := parse(&Program{Name: name, Args: args, Env: env}, fs)
	return err
}

// parse is Parse, and returns what was given.
func parse(p *Program, fs *flag.FlagSet) (*settings, error) {
	s := &settings{program: p, flags: fs, running: map[string]given{}}
	onLine, wrongOnLine := commandLine(fs, p.Args)
	if errors.Is(wrongOnLine, flag.ErrHelp) {
		return s, flag.ErrHelp
	}
	inEnv, wrongInEnv := environment(p, fs)
	s.outside = append(inEnv, onLine...)
	for _, g := range s.outside {
		if g.flag == configFlag {
			s.file, s.namedBy = g.text, g.by
		}
	}
	text, inside, wrongInFile := s.readFile()
	s.read = text
	var wrong []error
	for _, g := range append(inside, s.outside...) {
		if err := set(fs, g); err != nil {
			wrong = append(wrong, err)
			continue
		}
		s.running[g.flag] = g
	}
	return s, errors.Join(append([]error{wrongInFile, wrongInEnv, wrongOnLine}, wrong...)...)
}

// readFile reads the configuration file: its text, and what it gives.
func (s *settings) readFile() ([]byte, []given, error) {
	if s.file == "" {
		return nil, nil, nil
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.namedBy, err)
	}
	info, err := os.Stat(s.file)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.namedBy, err)
	}
	all, err := inFile(s.file, text, s.flags)
	for i := range all {
		all[i].public = info.Mode().Perm()&0o004 != 0
	}
	return text, all, err
}

// changed reports whether the configuration file has another text than when it was
// read.
func (s *settings) changed() bool {
	if s.file == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := os.ReadFile(s.file)
	return err == nil && !bytes.Equal(text, s.read)
}

// set gives a flag its value.
func set(fs *flag.FlagSet, g given) error {
	f := fs.Lookup(g.flag)
	if err := checkPublic(f, g); err != nil {
		return err
	}
	before := f.Value.String()
	err := fs.Set(g.flag, g.text)
	if err == nil {
		return nil
	}
	_ = f.Value.Set(before) // cannot fail: it was the value before
	return fmt.Errorf("%s: invalid value %q: %w", g.key(), g.text, wanted(f, err))
}

// checkPublic reports why a flag must not be given a value where it was.
func checkPublic(f *flag.Flag, g given) error {
	public, ok := f.Value.(Public)
	if !ok || !g.public {
		return nil
	}
	if err := public.CheckPublic(g.text); err != nil {
		return fmt.Errorf("%s: %w", g.key(), err)
	}
	return nil
}

// wanted returns what would be right where err is all that the flag package says.
func wanted(f *flag.Flag, err error) error {
	got, _ := f.Value.(flag.Getter)
	if isBool(f) {
		return errors.New("want true or false")
	}
	if got == nil {
		return err
	}
	switch got.Get().(type) {
	case time.Duration:
		return errors.New("want a duration with its unit, such as 300ms, 10s, 5m or 24h")
	case int, int64, uint, uint64:
		return errors.New("want a whole number")
	case float64:
		return errors.New("want a number")
	}
	return err
}

// isBool reports whether a flag needs no value on the command line.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// List is a flag's value that is a list. On the command line and in the environment
// commas separate its members; in a configuration file it may be a list.
type List interface {
	flag.Value
	IsList()
}

// ListVar registers a list. Its members are in p, separated by commas.
func ListVar(fs *flag.FlagSet, p *string, name, value, usage string) {
	*p = value
	fs.Var((*list)(p), name, usage)
}

// list is the value of a list.
type list string

// Set sets the list.
func (l *list) Set(text string) error {
	*l = list(text)
	return nil
}

// String returns the list.
func (l *list) String() string {
	if l == nil {
		return ""
	}
	return string(*l)
}

// IsList says that it is a list.
func (*list) IsList() {}

// Public is a flag's value that may be a secret. Every user of a machine can list what
// its processes were started with, and read a file that is not kept from others. The
// environment of a process is its owner's.
type Public interface {
	flag.Value
	// CheckPublic reports why text must not stand where others can read it, or nil.
	CheckPublic(text string) error
}
