package page

// ReadMask is readMask.
var ReadMask = readMask
