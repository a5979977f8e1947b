package handshake

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tidegatehq/tidegate/services/gateway/internal/bound"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/firstmessage"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// FirstConfig bounds clients whose credential is in their first message, from their 101
// until it is found good.
type FirstConfig struct {
	Timeout    time.Duration // from the 101 to the end of the message
	Handshake  time.Duration // that what follows may take, as a handshake
	Max        int           // of such clients at once; 0: any number
	PerAddress int           // of one address; 0: any number
}

// unauthenticated counts clients that have been answered 101 and have not shown a good
// credential.
type unauthenticated struct {
	FirstConfig
	all       chan struct{} // nil: any number
	addresses *bound.ByKey[netip.Prefix]
}

func newUnauthenticated(c FirstConfig) *unauthenticated {
	u := &unauthenticated{FirstConfig: c, addresses: bound.NewByKey[netip.Prefix](c.PerAddress)}
	if c.Max > 0 {
		u.all = make(chan struct{}, c.Max)
	}
	return u
}

// enter counts a client until leave is called. A trusted proxy is nobody's client.
func (u *unauthenticated) enter(a *attempt) (leave func(), err error) {
	network := clientaddr.Network(a.Remote.Addr())
	counted := !a.Proxy && network.IsValid()
	if counted && !u.addresses.Take(network) {
		return nil, &problem.Problem{
			Status: http.StatusTooManyRequests, Code: problem.AddressBusy, Detail: "too many clients of this address have not shown a credential yet",
			Header: []head.Field{problem.RetryAfter(time.Second)},
		}
	}
	giveBack := func() {
		if counted {
			u.addresses.Give(network)
		}
	}
	if u.all == nil {
		return giveBack, nil
	}
	select {
	case u.all <- struct{}{}:
		return func() { <-u.all; giveBack() }, nil
	default:
		giveBack()
		return nil, unavailable(problem.Busy, "too many clients have not shown a credential yet", time.Second, nil)
	}
}

// first is what there is of a handshake whose credential is in the first message.
type first struct {
	place    credential.Place
	typ      credential.Type
	protocol string               // that the client was answered with its 101; "" for none
	reader   *firstmessage.Reader // nil: it has not been answered yet

	// While the backend is dialled, what follows the message is read.
	conn    net.Conn
	timer   *time.Timer // nil: not begun
	reading sync.WaitGroup
	stopped bool
}

// heard reports whether the client has been answered 101 for its first message: another
// answer is a close.
func (a *attempt) heard() bool { return a.first != nil && a.first.reader != nil }

// firstOf returns what is to be heard from clients of a version with these schemes; nil
// where none of their places is the first message.
func firstOf(schemes []credential.Scheme) *first {
	place, typ, ok := credential.FirstMessagePlace(schemes)
	if !ok {
		return nil
	}
	return &first{place: place, typ: typ}
}

// hear answers a client 101, takes the credential out of its first message, and asks what
// it is good for. Meanwhile the client counts as one that has not shown a credential.
func (h *Handler) hear(ctx context.Context, a *attempt) error {
	leave, err := h.first.enter(a)
	if err != nil {
		return err
	}
	defer leave()
	buffered := a.monitor.Stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, m := a.first, a.first.place.Message
	if f.protocol = m.Answer(a.shown.Protocols); f.protocol != "" {
		a.shown.Protocols = []string{f.protocol}
	} else {
		a.shown.Protocols = nil
	}
	until := time.Now().Add(h.first.Timeout)
	a.deadline.Reset(h.first.Timeout + h.first.Handshake)
	if err := a.Conn.SetDeadline(until); err != nil {
		return errClientGone
	}
	if err := h.upgrader.answer(a.Conn, a.Key, a.ref, f.protocol, nil); err != nil {
		a.cancel(errClientGone)
		return errClientGone
	}
	f.conn, f.reader = a.Conn, firstmessage.New(a.Conn, buffered, m.PassOn)
	c, err := h.message(ctx, a)
	if err != nil {
		return err
	}
	a.deadline.Reset(h.first.Handshake)
	if err := a.Conn.SetDeadline(time.Now().Add(h.first.Handshake)); err != nil {
		return errClientGone
	}
	f.follow(h.monitorDelay, a.cancel)
	return h.verify(ctx, a, c)
}

// message reads the first message and returns the credential in it.
func (h *Handler) message(ctx context.Context, a *attempt) (credential.Credential, error) {
	stop := context.AfterFunc(ctx, func() { _ = a.Conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, err := a.first.reader.Message()
	var violation frame.Violation
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return credential.Credential{}, context.Cause(ctx)
	case errors.Is(err, firstmessage.ErrBinary):
		return credential.Credential{}, invalid(err)
	case errors.As(err, &violation):
		return credential.Credential{}, violation
	case errors.As(err, &timeout) && timeout.Timeout():
		p := missing(nil)
		p.Detail, p.Why = "the API needs a credential in the first message", "no whole message came in "+h.first.Timeout.String()
		return credential.Credential{}, p
	case err != nil:
		a.cancel(errClientGone)
		return credential.Credential{}, errClientGone
	case !utf8.Valid(text):
		return credential.Credential{}, notUTF8{}
	}
	c, err := a.first.place.Message.Find(a.first.typ, text)
	if errors.Is(err, credential.ErrMissing) {
		p := missing(nil)
		p.Detail = "the API needs a credential in " + a.first.place.String()
		return c, p
	}
	if err != nil {
		return c, invalid(err)
	}
	return c, nil
}

// notUTF8 is a text message that is none (RFC 6455 section 8.1).
type notUTF8 struct{}

func (notUTF8) Error() string { return "the first message is not UTF-8" }

func (notUTF8) Unwrap() error { return frame.InvalidReason }

// errProtocol is what a backend did that chose another sub-protocol than the client has.
var errProtocol = &problem.Problem{
	Status: http.StatusBadGateway, Code: problem.BackendIncorrect, Detail: "the backend chose another sub-protocol than the client was answered",
}

// follow has what comes after the message read, and control frames answered, until stop.
// Reading begins after a delay, as with a monitor. A client that leaves or violates the
// protocol ends the handshake.
func (f *first) follow(delay time.Duration, cancel context.CancelCauseFunc) {
	f.reading.Add(1)
	f.timer = time.AfterFunc(delay, func() {
		defer f.reading.Done()
		err := f.reader.Follow()
		var violation frame.Violation
		var timeout net.Error
		switch {
		case err == nil, errors.As(err, &timeout) && timeout.Timeout():
		case errors.As(err, &violation):
			cancel(violation)
		default:
			cancel(errClientGone)
		}
	})
}

// stop ends the reading and returns what is to be relayed. It may be called more than once.
func (f *first) stop() []byte {
	if !f.stopped && f.timer != nil && !f.timer.Stop() {
		_ = f.conn.SetReadDeadline(time.Unix(1, 0))
		f.reading.Wait()
	}
	f.stopped = true
	return f.reader.Rest()
}

// Close codes of refusals after a 101.
const (
	closeProtocol   = 1002
	closePolicy     = 1008
	closeTooBig     = 1009
	closeTryLater   = 1013
	closeCredential = 4001
	closeNotAllowed = 4002
	closeThrottled  = 4003
)

// closeCode returns the code of the close that is the answer to what went wrong with a
// client that has been answered 101; 0 for one that has not.
func (a *attempt) closeCode(p *problem.Problem, err error) uint16 {
	if !a.heard() {
		return 0
	}
	if violation, ok := errors.AsType[frame.Violation](err); ok {
		switch violation {
		case frame.TooBig:
			return closeTooBig
		case frame.InvalidReason:
			return frame.CloseInvalidPayload
		case frame.Flood:
			return closePolicy
		default:
			return closeProtocol
		}
	}
	switch {
	case p.Code.By() == ending.Backend, p.Status >= 500:
		return closeTryLater
	case p.Status == http.StatusUnauthorized:
		return closeCredential
	case p.Status == http.StatusTooManyRequests:
		return closeThrottled
	default:
		return closeNotAllowed
	}
}

// closeFrame returns the close of a refusal: its word is the code's, but BACKEND_GONE for
// all that the backend has done.
func closeFrame(code uint16, p *problem.Problem, ref string) []byte {
	word := p.Code.String()
	if p.Code.By() == ending.Backend {
		word = ending.BackendGone.String()
	}
	reason := word + " ref=" + ref
	for _, f := range p.Header {
		if seconds, err := strconv.Atoi(f.Value); err == nil && f.Name == "Retry-After" && code == closeThrottled {
			reason += " retry=" + strconv.Itoa(seconds*1000) + "ms"
		}
	}
	reason = reason[:min(len(reason), frame.MaxControlPayload-2)]
	return frame.AppendControl(nil, frame.Close, frame.AppendClose(nil, code, []byte(reason)), false)
}
