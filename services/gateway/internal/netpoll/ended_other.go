//go:build !linux

package netpoll

// Ended tells whether the peer has ended its stream, though what it sent before was not
// read yet. Here nothing tells.
func (c *Conn) Ended() (ended bool, err error) { return false, nil }
