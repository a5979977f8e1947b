// Package listener accepts the gateway's connections, plain and TLS, and reads the
// head of the one request that each may send. It answers requests for the
// gateway's own endpoints under /-/ and refuses whatever is not a well-formed
// WebSocket handshake. Well-formed handshakes go to its handler, package
// handshake.
package listener
