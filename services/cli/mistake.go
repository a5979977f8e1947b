package cli

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// What kong says of command lines that it cannot parse.
var (
	missingArguments = regexp.MustCompile(`^expected "<(.*)>(?: \.\.\.)?"$`)
	missingCommand   = regexp.MustCompile(`^expected (one of |"[^<])`)
	noneOfEnum       = regexp.MustCompile(`^(\S+) must be one of (".*") but got (".*")$`)
)

// mistake returns what is wrong with a command line that kong cannot parse, in the words
// of other errors: flags and arguments stand before a colon.
func mistake(err error, command string) error {
	text := oneLine(err.Error())
	if m := missingArguments.FindStringSubmatch(text); m != nil {
		names := strings.ReplaceAll(strings.ToUpper(m[1]), "> <", " and ")
		return usagef("%s: missing; see tidegate %s --help", names, command)
	}
	if m := noneOfEnum.FindStringSubmatch(text); m != nil {
		name := m[1]
		if argument, ok := strings.CutPrefix(name, "<"); ok {
			name = strings.ToUpper(strings.TrimSuffix(argument, ">"))
		}
		values := strings.TrimSuffix(m[2], `,""`) // that which is not given
		return usagef("%s: %s is none of %s", name, m[3], strings.ReplaceAll(strings.ReplaceAll(values, `"`, ""), ",", ", "))
	}
	return usagef("%s", text)
}

// groupAlone returns where parsing failed because a group of commands was given without
// one of them, or nil.
func groupAlone(err error) *kong.Context {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil || !missingCommand.MatchString(err.Error()) {
		return nil
	}
	return parse.Context
}

// durations reads flags that take a duration.
func durations(c *kong.DecodeContext, target reflect.Value) error {
	token, err := c.Scan.PopValue("duration")
	if err != nil {
		return err
	}
	text := fmt.Sprint(token.Value)
	d, err := duration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s, 12h or 7d", text)
	}
	target.SetInt(int64(d))
	return nil
}

// duration reads a duration of Go, or a number of days of 24 hours.
func duration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return time.ParseDuration(text)
}
