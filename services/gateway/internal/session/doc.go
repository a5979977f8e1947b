// Package session keeps the gateway's sessions: the registry of those that are in
// their handshake or live, what each rests on, how each ends, and the one record
// that each leaves behind. A Transport moves the bytes.
package session
