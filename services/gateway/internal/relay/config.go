package relay

import "time"

// Config is what all sessions of one Engine have in common. A field that is
// zero takes its default; a negative duration switches that clock off.
type Config struct {
	Ping       time.Duration // between two pings to a leg; 30 s
	Pong       time.Duration // wait for the pong; 10 s
	Close      time.Duration // wait for the answer to a close; 5 s
	Linger     time.Duration // read and discard after the last frame; 1 s
	Write      time.Duration // a leg that takes no byte for this long is cut; 10 s
	FrameEnd   time.Duration // a close waits this long for the end of a frame; 1 s
	Tick       time.Duration // precision of all of these; 100 ms
	MaxMessage int64         // bytes of a message, fragments summed; 1 MiB
	Flood      int           // control and empty frames of a leg in a second; 100
	Buffer     int           // bytes that are read at once; 32 KiB, 64 KiB at most
}
