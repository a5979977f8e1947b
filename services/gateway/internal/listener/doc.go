// Package listener takes the gateway's connections in, plain and TLS, reads the
// head of the one request that each may send, answers what is not a sound
// request for a WebSocket, and the gateway's own endpoints under /-/. What a
// sound request leads to is for its handler, package handshake.
package listener
