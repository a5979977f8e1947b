// Package token makes and checks everything secret: client secrets and refresh
// tokens, passwords, signing keys and the tokens that they sign. No other
// package of the service keeps a secret or compares one; what leaves this
// package for the store is a hash or sealed. Who may have a token is left to
// the handlers.
package token
