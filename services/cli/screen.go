package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen shows the messages of a connection. On a terminal, "> " stands before what is
// sent and "< " before what is received; elsewhere it is only what is received, as it is.
type screen struct {
	out io.Writer
	// terminal says that out is one, typed that the input is, so that what is sent is
	// already there.
	terminal, typed bool
	mu              sync.Mutex
}

// screen returns the screen of a command.
func (s *shell) screen() *screen {
	return &screen{out: s.Stdout, terminal: isTerminal(s.Stdout), typed: isTerminal(s.Stdin)}
}

// isTerminal reports whether a stream of the program is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// The control sequences of a terminal: wipe clears the line, which has at most a prompt
// and what is being typed.
const (
	wipe   = "\r\x1b[K"
	prompt = "> "
)

// begin shows the first prompt.
func (c *screen) begin() { _ = c.write("", c.prompt()) }

// sent shows a line that was sent.
func (c *screen) sent(line string) {
	if c.terminal && !c.typed {
		_ = c.write(prompt+printable(line), "\n")
		return
	}
	_ = c.write("", c.prompt())
}

// received shows a message.
func (c *screen) received(text string) error {
	if !c.terminal {
		return c.write(text, "\n")
	}
	return c.write(c.wipe()+"< "+printable(text), "\n"+c.prompt())
}

// end leaves a clear line.
func (c *screen) end() { _ = c.write("", c.wipe()) }

// prompt returns what stands before what is typed.
func (c *screen) prompt() string {
	if c.terminal && c.typed {
		return prompt
	}
	return ""
}

// wipe returns what clears a prompt.
func (c *screen) wipe() string {
	if c.terminal && c.typed {
		return wipe
	}
	return ""
}

// write writes; only a message that cannot be shown is an error of the command.
func (c *screen) write(text, end string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text+end == "" {
		return nil
	}
	_, err := fmt.Fprint(c.out, text, end)
	return err
}

// printable makes a message safe to show on a terminal, and indents its further lines.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && drives(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ReplaceAll(text, "\n", "\n  "))
}
