// Package handshake takes a sound request for a WebSocket through its steps:
// route, credential, grant, origin, a registered session, the backend's answer,
// and only then the 101, after which the session has both connections. Each step
// can refuse, with one HTTP answer that closes the connection.
package handshake
