// Package listener accepts the gateway's connections, plain and TLS, and reads the
// head of the one request that each may send. It answers requests for the gateway's
// own endpoints under /-/, passes well-formed WebSocket handshakes to its handler
// (package handshake), and refuses everything else.
package listener
