// Package upstream opens connections to backends: it checks the address that a
// name resolves to, dials, and does the client's half of the WebSocket handshake
// (RFC 6455 section 4.1). Which backend, and for whom, is package handshake's;
// what flows afterwards is package relay's.
package upstream
