// Package changes serves ChangeService for all services: it calls those that a
// request names, with the caller's token, and merges their answers. The services
// decide who may ask.
package changes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// all is the parent of the changes and watchers of all services (AIP-159).
const all = "services/" + resourcename.Any

// Server serves ChangeService.
type Server struct {
	changev1.UnsafeChangeServiceServer
	services []service
}

// service is one that has changes.
type service struct {
	name   string // services/{service}
	client changev1.ChangeServiceClient
}

var _ changev1.ChangeServiceServer = (*Server)(nil)

// New returns a server that calls the services behind these connections.
func New(catalog, subscription grpc.ClientConnInterface) *Server {
	return &Server{services: []service{ // in the order of their names
		{resourcename.Service{Service: identity.Catalog}.String(), changev1.NewChangeServiceClient(catalog)},
		{resourcename.Service{Service: identity.Subscription}.String(), changev1.NewChangeServiceClient(subscription)},
	}}
}

// ListChanges lists the changes of one service, or of all by their time.
func (s *Server) ListChanges(ctx context.Context, req *changev1.ListChangesRequest) (*changev1.ListChangesResponse, error) {
	ctx = upstream.Forwarded(ctx)
	if req.GetParent() == all {
		return s.listAll(ctx, req)
	}
	client, err := s.parent(req.GetParent())
	if err != nil {
		return nil, err
	}
	resp, err := client.ListChanges(ctx, req)
	return resp, fault.Forward(err)
}

// listAll merges the changes of all services, newest first.
func (s *Server) listAll(ctx context.Context, req *changev1.ListChangesRequest) (*changev1.ListChangesResponse, error) {
	// The key has for each service the number below which the page begins.
	p, err := page.New[[]uint64](req)
	if err != nil {
		return nil, err
	}
	size, below := p.Size, p.After
	if below == nil {
		below = slices.Repeat([]uint64{math.MaxInt64}, len(s.services))
	}
	if len(below) != len(s.services) {
		return nil, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	pages := make([]*changev1.ListChangesResponse, len(s.services))
	err = s.each(ctx, func(ctx context.Context, i int, svc service) (err error) {
		ask := &changev1.ListChangesRequest{
			Parent: svc.name, StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), Filter: req.GetFilter(),
		}
		of, err := page.New[uint64](ask)
		if err != nil {
			return err
		}
		ask.PageSize, ask.PageToken = int32(size), of.Token(below[i])
		pages[i], err = svc.client.ListChanges(ctx, ask)
		return err
	})
	if err != nil {
		return nil, err
	}
	resp := &changev1.ListChangesResponse{}
	for i := newest(pages); i >= 0 && len(resp.GetChanges()) < size; i = newest(pages) {
		c := pages[i].GetChanges()[0]
		pages[i].Changes = pages[i].GetChanges()[1:]
		resp.Changes, below[i] = append(resp.GetChanges(), c), c.GetChangeNumber()
	}
	more := false
	for i, p := range pages {
		if len(p.GetChanges()) > 0 {
			// Also set for a service that gave nothing to this page: its changes from
			// now on must not appear on a later page.
			below[i] = p.GetChanges()[0].GetChangeNumber() + 1
		} else if p.GetNextPageToken() == "" {
			below[i] = 1 // there is no change 0
			continue
		}
		more = true
	}
	if more {
		resp.NextPageToken = p.Token(below)
	}
	return resp, nil
}

// newest returns which page has the newest change that was not taken yet, or -1 when
// none is left, or when a service has more than it gave, which may be newer. The
// changes of one service stay in the order of their numbers.
func newest(pages []*changev1.ListChangesResponse) int {
	found := -1
	for i, p := range pages {
		if len(p.GetChanges()) == 0 && p.GetNextPageToken() != "" {
			return -1
		}
		if len(p.GetChanges()) > 0 && (found < 0 || timeOf(p).After(timeOf(pages[found]))) {
			found = i
		}
	}
	return found
}

// timeOf returns the time of a page's first change.
func timeOf(p *changev1.ListChangesResponse) time.Time {
	return p.GetChanges()[0].GetCreateTime().AsTime()
}

// GetChange returns a change.
func (s *Server) GetChange(ctx context.Context, req *changev1.GetChangeRequest) (*changev1.Change, error) {
	client, err := s.owner(req.GetName())
	if err != nil {
		return nil, err
	}
	resp, err := client.GetChange(upstream.Forwarded(ctx), req)
	return resp, fault.Forward(err)
}

// WaitChange waits until every connected gateway has applied a change.
func (s *Server) WaitChange(ctx context.Context, req *changev1.WaitChangeRequest) (*changev1.WaitChangeResponse, error) {
	client, err := s.owner(req.GetName())
	if err != nil {
		return nil, err
	}
	resp, err := client.WaitChange(upstream.Forwarded(ctx), req)
	return resp, fault.Forward(err)
}

// ListWatchers lists the watchers of one service, or of all.
func (s *Server) ListWatchers(ctx context.Context, req *changev1.ListWatchersRequest) (*changev1.ListWatchersResponse, error) {
	ctx = upstream.Forwarded(ctx)
	if req.GetParent() != all {
		client, err := s.parent(req.GetParent())
		if err != nil {
			return nil, err
		}
		resp, err := client.ListWatchers(ctx, req)
		return resp, fault.Forward(err)
	}
	lists := make([]*changev1.ListWatchersResponse, len(s.services))
	err := s.each(ctx, func(ctx context.Context, i int, svc service) (err error) {
		lists[i], err = svc.client.ListWatchers(ctx, &changev1.ListWatchersRequest{Parent: svc.name})
		return err
	})
	if err != nil {
		return nil, err
	}
	resp := &changev1.ListWatchersResponse{}
	for _, list := range lists {
		resp.Watchers = append(resp.GetWatchers(), list.GetWatchers()...)
	}
	return resp, nil
}

// parent returns the client of a service.
func (s *Server) parent(name string) (changev1.ChangeServiceClient, error) {
	n, err := resourcename.ParseService("parent", name)
	if err != nil {
		return nil, err
	}
	return s.client(n, n)
}

// owner returns the client of the service that has a change.
func (s *Server) owner(name string) (changev1.ChangeServiceClient, error) {
	n, err := resourcename.ParseChange("name", name)
	if err != nil {
		return nil, err
	}
	return s.client(n.Parent(), n)
}

// client returns the client of a service, or NOT_FOUND when there is no such service.
func (s *Server) client(n resourcename.Service, asked fmt.Stringer) (changev1.ChangeServiceClient, error) {
	for _, svc := range s.services {
		if svc.name == n.String() {
			return svc.client, nil
		}
	}
	return nil, fault.NotFound("%s", asked)
}

// each calls all services at once and returns the first error: a list that lacks a
// service would not be the list of all.
func (s *Server) each(ctx context.Context, ask func(ctx context.Context, i int, svc service) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, svc := range s.services {
		g.Go(func() error { return ask(ctx, i, svc) })
	}
	return fault.Forward(g.Wait())
}
