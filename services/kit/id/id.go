// Package id makes the opaque ids of resources. What an id names, and the
// resource name around it, is left to its owner.
package id

import "github.com/google/uuid"

// New returns a new id: a UUIDv7 in lower case, so that ids sort by the time
// they were made.
func New() string { return uuid.Must(uuid.NewV7()).String() }
