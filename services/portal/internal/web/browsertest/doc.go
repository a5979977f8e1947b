// Package browsertest tests the portal's pages in a real browser: one Chromium and one
// Tidegate for all tests, each of which has tabs and users of its own.
package browsertest
