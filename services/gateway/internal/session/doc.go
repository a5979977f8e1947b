// Package session keeps the gateway's sessions: the registry of those that are in
// their handshake or live, what each rests on, how each ends, and the one record
// that each leaves behind. A Transport moves the bytes. Package grant ends the
// sessions that a revocation touches, package routes those of versions that are
// gone, both with EndAllOn.
package session
