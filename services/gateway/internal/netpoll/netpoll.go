// Package netpoll reads and writes connections without waiting, and says when that
// is possible again. One Poller serves all connections that it is given, without a
// goroutine or a buffer for any of them; a Conn hides whether it carries TLS.
//
// It knows nothing of frames or sessions. On Linux it is an epoll instance; elsewhere
// two goroutines for each connection do the same (build tag portable runs that on
// Linux too).
//
//	runtime's poller ── notifier ── epoll instance ──┬── Conn ── Handler
//	                                                 ├── Conn ── Handler
//	                                                 └── eventfd (Requeue)
package netpoll

// Readiness is what has become possible on a connection.
type Readiness uint8

// What may have become possible; several may have at once.
const (
	Readable Readiness = 1 << iota
	Writable
	Ended // or may have: reads go on up to one that finds nothing
)

// Handler uses a connection that a Poller serves.
type Handler interface {
	// Ready does what has become possible, without waiting, and returns how many
	// bytes it read. It may be called for nothing, and for connections that are
	// handled together from several goroutines at once.
	Ready(what Readiness) (read int)
}
