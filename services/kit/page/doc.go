// Package page has what all lists and updates share (AIP-132, AIP-134, AIP-154,
// AIP-158, AIP-160, AIP-161): pages and their tokens, filters, update masks and
// etags. The handlers know the fields, and the stores have the SQL that reads a
// list.
package page
