package renewal

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
)

// node is another gateway, which has one session.
type node struct {
	backplanev1.LiveSessionServiceClient
	has    string
	frozen bool
	takes  time.Duration // what judging a credential takes
	lists  int
}

func (n *node) FindSession(ctx context.Context, req *backplanev1.FindSessionRequest, _ ...grpc.CallOption) (*backplanev1.FindSessionResponse, error) {
	if n.frozen {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &backplanev1.FindSessionResponse{Found: req.GetRef() == n.has}, nil
}

func (n *node) RenewSession(_ context.Context, req *backplanev1.RenewSessionRequest, _ ...grpc.CallOption) (*backplanev1.RenewSessionResponse, error) {
	time.Sleep(n.takes) // in a bubble
	for _, f := range req.GetHeader() {
		if req.GetRef() == n.has && string(f.GetValue()) == "Bearer next" {
			return &backplanev1.RenewSessionResponse{}, nil
		}
	}
	return nil, status.Error(codes.NotFound, "session not found")
}

func (n *node) ListCredentialSessions(context.Context, *backplanev1.ListCredentialSessionsRequest, ...grpc.CallOption) (*backplanev1.ListCredentialSessionsResponse, error) {
	n.lists++
	return &backplanev1.ListCredentialSessionsResponse{}, nil
}

const (
	ticketHere  = "f6w10000q8s5d2h7m4za"
	ticketThere = "f6w10000q8s5d2h7m4zb"
	ticketNone  = "f6w10000q8s5d2h7m4zc"
)

// serverWith is a server with one session of a ticket, and another gateway with one.
func serverWith(t *testing.T, nodes ...*node) (*Server, *plane) {
	t.Helper()
	l, p := localOf(t, ticketHere)
	o := newOthers(&directory{})
	o.began, o.asked = time.Now().Add(time.Minute), time.Now() // the directory has just been asked
	for i, n := range nodes {
		o.known = append(o.known, other{name: "gateways/" + string(rune('a'+i)), live: n})
	}
	return &Server{Instance: "gateway-1", Tag: "zzzz", Local: l, Others: o}, p
}

// TestNobodyLearnsOfATicketsSession: what has no gateway's tag is answered the same, after the
// same time, whether the session is here, at another gateway or nowhere, and whether a
// gateway is frozen; a proved right renews it all the same.
func TestNobodyLearnsOfATicketsSession(t *testing.T) {
	const takes = 5 * time.Millisecond
	for _, frozen := range []bool{false, true} {
		for _, name := range []string{ticketHere, ticketThere, ticketNone} {
			for _, shown := range []string{"garbage", "others", "next"} {
				synctest.Test(t, func(t *testing.T) {
					s, p := serverWith(t, &node{has: ticketThere, takes: takes}, &node{frozen: frozen})
					p.takes = takes
					want, wantTook := ErrNotFound, takes
					if frozen {
						want, wantTook = ErrUnavailable, takes+patience
					}
					if shown == "next" && name != ticketNone {
						want = nil
						if name == ticketHere {
							wantTook = takes
						}
					}
					r := &listener.Request{Remote: netip.AddrPortFrom(from, 1), Header: http.Header{"Authorization": {"Bearer " + shown}}}
					began := time.Now()
					_, err := s.renew(t.Context(), r, name)
					if took := time.Since(began); !errors.Is(err, want) || took != wantTook {
						t.Errorf("%s for %s, frozen %v = %v after %v, want %v after %v", shown, name, frozen, err, took, want, wantTook)
					}
				})
			}
		}
	}
}

// callers are all good.
type callers struct{}

func (callers) Caller(context.Context, *listener.Request, string) (*grant.Grant, error) {
	return grantOf("next", "applications/a"), nil
}

func (callers) Reads(*listener.Request, string, string) bool { return false }

func (callers) Problem(error) *problem.Problem { return nil }

// TestListsAreBounded: a list that would have too many wait for other gateways asks none.
func TestListsAreBounded(t *testing.T) {
	n := &node{}
	s, _ := serverWith(t, n)
	s.Caller = callers{}
	list := func() error {
		_, err := s.list(t.Context(), &listener.Request{Query: "path=/a/1"})
		return err
	}
	var leave func()
	for range maxForwarded {
		leave, _ = s.Others.enter()
	}
	if err := list(); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errTooMany) || n.lists != 0 {
		t.Errorf("list behind the bound = %v, and asks %d times", err, n.lists)
	}
	leave()
	if err := list(); err != nil || n.lists != 1 || len(s.Others.forwarded) != maxForwarded-1 {
		t.Errorf("list before the bound = %v, asks %d times, and leaves %d waiting", err, n.lists, len(s.Others.forwarded))
	}
}
