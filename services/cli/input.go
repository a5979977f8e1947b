package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
)

// input returns the reader of Stdin. There is only one, because it reads ahead.
func (s *shell) input() *bufio.Reader {
	if s.lines == nil {
		s.lines = bufio.NewReader(s.Stdin)
	}
	return s.lines
}

// line reads a line of Stdin, for which the command's time stands still. An interrupt ends
// the wait, though not the read, which ends with the process.
func (s *shell) line(ctx context.Context) (string, error) {
	type answer struct {
		text string
		err  error
	}
	defer s.wait()()
	in, answered := s.input(), make(chan answer, 1)
	go func() {
		text, err := in.ReadString('\n')
		answered <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", failed(codes.Canceled, "interrupted")
	case a := <-answered:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("read standard input: %w", a.err)
		}
		return a.text, nil
	}
}
