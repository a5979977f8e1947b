package ui

import usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"

// EndWords say why a session ended, or a handshake led to none.
func EndWords(r usagev1.EndReason) string {
	switch r {
	case usagev1.EndReason_END_REASON_PEER_CLOSE:
		return "the client or the backend closed it"
	case usagev1.EndReason_END_REASON_CLIENT_GONE:
		return "the client's connection broke"
	case usagev1.EndReason_END_REASON_BACKEND_GONE:
		return "the backend's connection broke"
	case usagev1.EndReason_END_REASON_CLOSE_TIMEOUT:
		return "a peer did not answer a close"
	case usagev1.EndReason_END_REASON_IDLE:
		return "a peer did not answer a ping"
	case usagev1.EndReason_END_REASON_MAX_AGE:
		return "it reached its greatest age"
	case usagev1.EndReason_END_REASON_TOO_BIG:
		return "a message was too big"
	case usagev1.EndReason_END_REASON_SLOW:
		return "a peer read too slowly"
	case usagev1.EndReason_END_REASON_FLOOD:
		return "a peer sent too many control or empty frames"
	case usagev1.EndReason_END_REASON_PROTOCOL:
		return "a peer violated the protocol"
	case usagev1.EndReason_END_REASON_EXPIRED:
		return "the token expired"
	case usagev1.EndReason_END_REASON_REVOKED:
		return "the token was revoked"
	case usagev1.EndReason_END_REASON_BLOCKED:
		return "the right to use the version ended"
	case usagev1.EndReason_END_REASON_OPERATOR_CLOSE:
		return "somebody closed it"
	case usagev1.EndReason_END_REASON_DRAIN:
		return "the gateway stopped"
	case usagev1.EndReason_END_REASON_BACKEND_REFUSED:
		return "the backend refused the handshake"
	case usagev1.EndReason_END_REASON_REFUSED:
		return "the gateway refused the handshake"
	case usagev1.EndReason_END_REASON_THROTTLED:
		return "a limit of a plan ended it"
	case usagev1.EndReason_END_REASON_REPLACED:
		return "a newer connection took its seat"
	case usagev1.EndReason_END_REASON_ANSWERED:
		return "the plain request was answered"
	}
	return "not known"
}
