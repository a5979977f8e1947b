// Package token makes and checks everything secret: client secrets and refresh
// tokens, passwords, signing keys and the tokens that they sign. No other package
// of the service keeps or compares a secret; the store gets only hashes and sealed
// keys. The handlers decide who may have a token.
package token
