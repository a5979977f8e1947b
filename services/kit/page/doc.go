// Package page has what every list and update shares (AIP-132, AIP-134, AIP-154,
// AIP-158, AIP-160, AIP-161): pages and their tokens, filters, update masks and
// etags. Which fields there are belongs to the handlers, the SQL that reads a list
// to the stores.
package page
