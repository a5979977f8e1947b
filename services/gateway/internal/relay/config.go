package relay

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// Config is what all sessions of one Engine have in common. It is made by Default; an
// Engine takes one that Check accepts.
type Config struct {
	Ping       time.Duration // between two pings to a leg; 0: no pings
	Pong       time.Duration // wait for the pong; 0: none is needed
	Idle       time.Duration // nothing of a message passes for this long; 0: that may be
	Close      time.Duration // wait for the answer to a close
	Linger     time.Duration // read and discard after the last frame
	Write      time.Duration // a leg that takes no byte for this long is cut; 0: it is not
	FrameEnd   time.Duration // a close waits this long for the end of a frame
	Tick       time.Duration // precision of all of these
	MaxMessage int64         // bytes of a message, fragments summed; 0: any number
	Flood      int           // control and empty frames of a leg in a second; 0: any number
	Buffer     int           // bytes that are read at once, netpoll.MaxBuffer at most

	prefix string
}

// Default returns the default configuration.
func Default() Config {
	return Config{
		Ping:       30 * time.Second,
		Pong:       10 * time.Second,
		Close:      5 * time.Second,
		Linger:     time.Second,
		Write:      10 * time.Second,
		FrameEnd:   time.Second,
		Tick:       100 * time.Millisecond,
		MaxMessage: 1 << 20,
		Flood:      100,
		Buffer:     32 << 10,
	}
}

// Flags registers the options, each name after prefix. What the Config holds is
// their default.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.DurationVar(&c.Ping, prefix+"ping", c.Ping, "`time` between pings to a client or backend; 0 for no pings")
	fs.DurationVar(&c.Pong, prefix+"pong", c.Pong, "`time` to answer a ping; 0 if no answer is needed")
	fs.DurationVar(&c.Idle, prefix+"idle", c.Idle, "`time` without a message in either direction after which a session ends, if its version does not say less; 0 for never")
	fs.DurationVar(&c.Close, prefix+"close", c.Close, "`time` to answer a close")
	fs.DurationVar(&c.Linger, prefix+"linger", c.Linger, "`time` to go on reading after the last frame was sent; 0 for none")
	fs.DurationVar(&c.Write, prefix+"write", c.Write, "`time` after which a peer that takes no bytes is cut off; 0 for never")
	fs.Int64Var(&c.MaxMessage, prefix+"max-message", c.MaxMessage, "largest message in `bytes`, all fragments together; 0 for no limit")
	fs.IntVar(&c.Flood, prefix+"flood", c.Flood, "`number` of control and empty frames that a peer may send per second; 0 for no limit")
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"ping", int64(c.Ping)}, {"pong", int64(c.Pong)}, {"idle", int64(c.Idle)}, {"linger", int64(c.Linger)},
		{"write", int64(c.Write)}, {"max-message", c.MaxMessage}, {"flood", int64(c.Flood)},
	} {
		if f.value < 0 {
			wrong = append(wrong, fmt.Errorf("-%s%s: must not be negative", c.prefix, f.name))
		}
	}
	if c.Close <= 0 {
		wrong = append(wrong, fmt.Errorf("-%sclose: must be more than 0, or a peer would have no time to answer", c.prefix))
	}
	if c.FrameEnd <= 0 || c.Tick <= 0 {
		wrong = append(wrong, errors.New("sessions: FrameEnd and Tick must be more than 0"))
	}
	if c.Buffer <= 0 || c.Buffer > netpoll.MaxBuffer {
		wrong = append(wrong, fmt.Errorf("sessions: Buffer must be 1 to %d", netpoll.MaxBuffer))
	}
	return errors.Join(wrong...)
}
