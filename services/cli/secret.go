package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// given returns the secret that a flag stands for. On the command line that is @FILE,
// or - for a line of standard input: a secret itself does not belong there, because
// every user of a machine can read what its processes were started with. variable is
// where the environment has it, if it does.
func (s *shell) given(ctx context.Context, flag, value, variable string) (string, error) {
	file, isFile := strings.CutPrefix(value, "@")
	switch {
	case value == "", variable != "" && value == s.env(variable):
		return value, nil
	case value == "-":
		line, err := s.line(ctx)
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		return notEmpty(flag, "standard input", line)
	case isFile:
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		return notEmpty(flag, file, string(text))
	case variable != "":
		return "", usagef("%s: a secret does not belong on the command line, where every user of this machine can read it: give it in %s, as @FILE, or - for standard input", flag, variable)
	}
	return "", usagef("%s: a secret does not belong on the command line, where every user of this machine can read it: give it as @FILE, or - for standard input", flag)
}

// notEmpty returns a secret without the space around it.
func notEmpty(flag, where, text string) (string, error) {
	if text = strings.TrimSpace(text); text != "" {
		return text, nil
	}
	return "", fmt.Errorf("%s: %s is empty", flag, where)
}

// hasSecret reports whether a header with this name says who the client is.
func hasSecret(header string) bool {
	switch strings.ToLower(header) {
	case "authorization", "proxy-authorization", "cookie":
		return true
	}
	return false
}
