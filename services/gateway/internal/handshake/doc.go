// Package handshake takes a well-formed WebSocket handshake through its steps:
//
//	route → credential → grant → origin → plans → register the session → dial the backend → 101
//
// Deny rules are judged before the route, before the credential and after the grant, as
// package deny says, and once more when the session is registered.
// Plans have rates of handshakes and seats there, and quotas of sessions in front of the
// 101. The client is answered 101 only once the backend has answered 101, and then the
// session owns both connections. Any step can refuse the handshake with an HTTP
// response, after which the connection is closed.
//
// A credential that is in the client's first message comes after the 101, and a refusal from
// then on is a close:
//
//	route → origin → 101 → message → credential → grant → plans → register the session → dial the backend
package handshake
