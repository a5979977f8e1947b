package change

import (
	"context"

	"google.golang.org/grpc"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Register adds the ChangeService of a log to a server's two listeners: for users
// and for services.
func Register(l *Log, users, services grpc.ServiceRegistrar) {
	s := &service{log: l}
	changev1.RegisterChangeServiceServer(users, s)
	changev1.RegisterChangeServiceServer(services, s)
}

// Rules says who may call which method of ChangeService.
func Rules() identity.Rules {
	admin := identity.Rule{Roles: []string{identity.RoleAdmin}}
	return identity.Rules{
		changev1.ChangeService_ListChanges_FullMethodName:  admin,
		changev1.ChangeService_GetChange_FullMethodName:    admin,
		changev1.ChangeService_ListWatchers_FullMethodName: admin,
		changev1.ChangeService_WaitChange_FullMethodName:   {},
	}
}

// service serves ChangeService for one log.
type service struct {
	changev1.UnsafeChangeServiceServer
	log *Log
}

var _ changev1.ChangeServiceServer = (*service)(nil)

// ListChanges lists changes, newest first.
func (s *service) ListChanges(ctx context.Context, req *changev1.ListChangesRequest) (*changev1.ListChangesResponse, error) {
	if err := s.checkParent(req.GetParent()); err != nil {
		return nil, err
	}
	return s.log.List(ctx, req)
}

// GetChange returns a change.
func (s *service) GetChange(ctx context.Context, req *changev1.GetChangeRequest) (*changev1.Change, error) {
	number, err := s.parse(req.GetName())
	if err != nil {
		return nil, err
	}
	return s.log.Get(ctx, number)
}

// WaitChange waits until every connected gateway has applied a change.
func (s *service) WaitChange(ctx context.Context, req *changev1.WaitChangeRequest) (*changev1.WaitChangeResponse, error) {
	number, err := s.parse(req.GetName())
	if err != nil {
		return nil, err
	}
	applied, waiting, err := s.log.WaitApplied(ctx, number)
	if err != nil {
		return nil, err
	}
	resp := &changev1.WaitChangeResponse{Applied: applied}
	for _, instance := range waiting {
		resp.PendingWatchers = append(resp.PendingWatchers, resourcename.Watcher{Service: s.log.service, Watcher: instance}.String())
	}
	return resp, nil
}

// ListWatchers lists who watches the service.
func (s *service) ListWatchers(ctx context.Context, req *changev1.ListWatchersRequest) (*changev1.ListWatchersResponse, error) {
	if err := s.checkParent(req.GetParent()); err != nil {
		return nil, err
	}
	watchers, err := s.log.Watchers(ctx)
	if err != nil {
		return nil, err
	}
	return &changev1.ListWatchersResponse{Watchers: watchers}, nil
}

// checkParent returns why a parent does not name this service, or nil.
func (s *service) checkParent(parent string) error {
	n, err := resourcename.ParseService("parent", parent)
	own := resourcename.Service{Service: s.log.service}
	switch {
	case err != nil || n == own:
		return err
	case n.Service == resourcename.Any:
		return fault.Invalid("parent", "must be %s: only the portal answers for all services", own)
	}
	return fault.NotFound("%s", n)
}

// parse reads the name of a change of this service and returns its number.
func (s *service) parse(name string) (uint64, error) {
	n, err := resourcename.ParseChange("name", name)
	if err == nil && n.Service != s.log.service {
		err = fault.NotFound("%s", n)
	}
	return n.Number, err
}
