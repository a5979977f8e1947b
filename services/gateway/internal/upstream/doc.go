// Package upstream opens connections to backends: it checks the address that a
// name resolves to, dials it, and does the client's half of the WebSocket
// handshake (RFC 6455 section 4.1). Which backend is dialled, and for whom, is
// decided in package handshake; what flows afterwards is moved by package relay.
package upstream
