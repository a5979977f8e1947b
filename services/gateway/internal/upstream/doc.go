// Package upstream opens connections to backends: it checks the address that a name
// resolves to, dials it, and does the client's half of the WebSocket handshake (RFC
// 6455 section 4.1). Package handshake decides which backend is dialled and for
// whom; package relay moves what flows afterwards.
package upstream
