// Package keyset has the keys of the lists that the portal merges: live sessions of
// all gateways. Gateways and portal put the same keys into page tokens, so that the
// portal can ask each gateway for what follows the same session.
package keyset
