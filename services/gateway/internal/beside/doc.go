// Package beside serves HTTP beside the socket: the requests below a version's address that are
// no handshakes, which go to HTTP endpoints of the version's own.
//
//	listener ── head, read and checked ──► Server ── handshake.Beside: route, credential, grant,
//	   ▲                                     │        origin, deny rules, plans, registered
//	   │                                     ▼
//	   │                                  exchange ── httputil.ReverseProxy ── transport ── pool
//	   └── the next head ◄── answered ───────┘                                 one endpoint, or
//	                                                                           the next
//
// An exchange is one request and its answer on the client's connection. It is written here and
// not by net/http's server, whose reader of heads takes what the listener refuses: so each
// request on a connection is read by the listener and judged anew. Bodies are decoded by
// net/http, and streamed: an exchange holds a buffer of each direction, however long they are.
//
// What holds:
//
//   - The backend gets nothing that was not parsed and written anew.
//   - Once a request is registered, what ends sessions ends it: its backend's connection is
//     closed, and its client gets a refusal, or a connection that ends inside of the answer.
//   - A connection takes another request only if all of the one before was read.
package beside
