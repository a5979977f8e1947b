// Package e2e tests the whole product as its users reach it: the server in one
// process over gRPC, REST and WebSocket, the command line, and the scripts that
// check and release the repository. It has no code of its own.
package e2e
