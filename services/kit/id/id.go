// Package id makes the opaque ids of resources.
package id

import "github.com/google/uuid"

// New returns a new id, a UUIDv7 in lower case: ids sort by when they were made.
func New() string { return uuid.Must(uuid.NewV7()).String() }
