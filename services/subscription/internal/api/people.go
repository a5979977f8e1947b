package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreatePerson adds a person.
func (a *API) CreatePerson(ctx context.Context, req *subscriptionv1.CreatePersonRequest) (*subscriptionv1.Person, error) {
	hash := ""
	if req.GetPassword() != "" {
		turn, err := a.passwords.Turn(ctx)
		if err != nil {
			return nil, err
		}
		hash = turn.Hash(req.GetPassword())
		turn.End()
	}
	p, err := a.store.CreatePerson(ctx, personRow(req.GetPerson()), hash)
	if err != nil {
		return nil, err
	}
	return personProto(p), nil
}

// GetPerson returns a person.
func (a *API) GetPerson(ctx context.Context, req *subscriptionv1.GetPersonRequest) (*subscriptionv1.Person, error) {
	id, err := personID(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := see(ctx, id); err != nil {
		return nil, err
	}
	p, err := a.store.Person(ctx, id)
	if err != nil {
		return nil, err
	}
	return personProto(p), nil
}

// ListPeople returns a page of people.
func (a *API) ListPeople(ctx context.Context, req *subscriptionv1.ListPeopleRequest) (*subscriptionv1.ListPeopleResponse, error) {
	terms, err := filter(req.GetFilter(), field{name: "username"})
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), 2, "people", req.GetFilter())
	if err != nil {
		return nil, err
	}
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.People(ctx, terms, after, p.limit())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListPeopleResponse{}
	resp.People, resp.NextPageToken = cut(p, rows, personProto, func(p store.Person) []string {
		return timeKeys(p.CreatedAt.UnixMicro(), p.ID)
	})
	return resp, nil
}

// UpdatePerson changes a person.
func (a *API) UpdatePerson(ctx context.Context, req *subscriptionv1.UpdatePersonRequest) (*subscriptionv1.Person, error) {
	id, err := personID(ctx, "person.name", req.GetPerson().GetName())
	if err != nil {
		return nil, err
	}
	if err := administer(ctx, id); err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetPerson(), "username", "display_name", "roles")
	if err != nil {
		return nil, err
	}
	p, err := a.store.UpdatePerson(ctx, id, req.GetPerson().GetEtag(), func(p *store.Person) error {
		next := personProto(*p)
		if err := u.Apply(next); err != nil {
			return err
		}
		if err := validate.Message(&subscriptionv1.CreatePersonRequest{Person: next}); err != nil {
			return err
		}
		row := personRow(next)
		p.Username, p.DisplayName, p.Roles = row.Username, row.DisplayName, row.Roles
		return nil
	})
	if err != nil {
		return nil, err
	}
	return personProto(p), nil
}

// DeletePerson removes a person.
func (a *API) DeletePerson(ctx context.Context, req *subscriptionv1.DeletePersonRequest) (*emptypb.Empty, error) {
	id, err := personID(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := administer(ctx, id); err != nil {
		return nil, err
	}
	if err := a.store.DeletePerson(ctx, id, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
