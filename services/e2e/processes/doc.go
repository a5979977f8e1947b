// Package processes holds the tests of Tidegate as it is deployed: the binaries
// of deploy/build as four processes with mutual TLS, configured by the samples
// of deploy/env. It has no code of its own.
package processes
