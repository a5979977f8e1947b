// Package relay moves WebSocket frames between the two legs of a session: the
// client's connection and the backend's. It owns the bytes after both
// handshakes: it checks frame headers, passes data frames on as they came,
// answers and sends control frames of its own, and closes both connections.
// It knows nothing of routes, grants or registries; package session does.
package relay
