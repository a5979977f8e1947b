// Package openfiles says how many file descriptors the process may have, and has.
package openfiles

// assumed is how many descriptors are open where they cannot be counted.
const assumed = 32
