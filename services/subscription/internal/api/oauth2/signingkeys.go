package oauth2

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// GetSigningKey returns a signing key.
func (a *API) GetSigningKey(ctx context.Context, req *oauth2v1.GetSigningKeyRequest) (*oauth2v1.SigningKey, error) {
	n, err := resourcename.ParseSigningKey("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return a.signingKey(ctx, n)
}

// ListSigningKeys returns a page of signing keys. There are few.
func (a *API) ListSigningKeys(ctx context.Context, req *oauth2v1.ListSigningKeysRequest) (*oauth2v1.ListSigningKeysResponse, error) {
	p, err := page.New[position](req)
	if err != nil {
		return nil, err
	}
	states, err := a.states(ctx)
	if err != nil {
		return nil, err
	}
	all, next, err := page.Collect(p, after(states, p.After), positionOf, signingKeyProto)
	if err != nil {
		return nil, err
	}
	return &oauth2v1.ListSigningKeysResponse{SigningKeys: all, NextPageToken: next}, nil
}

// states returns what the keys do, those of access tokens first.
func (a *API) states(ctx context.Context) ([]token.KeyState, error) {
	tokens, err := a.keys.AccessTokens.States(ctx)
	if err != nil {
		return nil, err
	}
	identities, err := a.keys.BackendIdentity.States(ctx)
	return slices.Concat(tokens, identities), err
}

// position is where a key is in the list. The zero value is before all.
type position struct {
	Purpose store.KeyPurpose `json:"p,omitempty"`
	Number  int64            `json:"n"`
}

func positionOf(s token.KeyState) position { return position{s.Purpose, s.Number} }

func (p position) less(than position) bool {
	return cmp.Or(cmp.Compare(p.Purpose, than.Purpose), cmp.Compare(p.Number, than.Number)) < 0
}

// after returns the keys behind a position.
func after(states []token.KeyState, at position) iter.Seq2[token.KeyState, error] {
	return func(yield func(token.KeyState, error) bool) {
		for _, s := range states {
			if at.less(positionOf(s)) && !yield(s, nil) {
				return
			}
		}
	}
}

// RotateSigningKey makes a new signing key now.
func (a *API) RotateSigningKey(ctx context.Context, req *oauth2v1.RotateSigningKeyRequest) (*oauth2v1.SigningKey, error) {
	keys := a.keys.of(req.GetPurpose())
	number, made, err := keys.RotateNow(ctx)
	if err != nil {
		return nil, err
	}
	name := store.SigningKey{Purpose: keys.Purpose(), Number: number}.Name()
	if made {
		a.security.Write(ctx, securitylog.Event{Kind: securitylog.KeyRotated, What: name.String()})
	}
	return a.signingKey(ctx, name)
}

func (a *API) signingKey(ctx context.Context, name resourcename.SigningKey) (*oauth2v1.SigningKey, error) {
	states, err := a.states(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		if s.Name() == name {
			return signingKeyProto(s), nil
		}
	}
	return nil, fault.NotFound("signing key %q", name.SigningKey)
}

// Resource returns a new signing key as administrators see it.
func Resource(k store.SigningKey) proto.Message {
	return &oauth2v1.SigningKey{Name: k.Name().String(), Kid: k.ID, SignTime: timestamppb.New(k.SignsAt), Purpose: purposeProto(k.Purpose)}
}

func signingKeyProto(s token.KeyState) *oauth2v1.SigningKey {
	out := &oauth2v1.SigningKey{
		Name: s.Name().String(), Kid: s.ID, State: oauth2v1.SigningKey_STATE_RETIRED, SignTime: timestamppb.New(s.SignsAt),
		RetireTime: timeProto(s.RetiresAt), ExpireTime: timeProto(s.DropsAt), Purpose: purposeProto(s.Purpose),
	}
	switch {
	case s.Signs:
		out.State = oauth2v1.SigningKey_STATE_SIGNING
	case s.Published:
		out.State = oauth2v1.SigningKey_STATE_PUBLISHED
	}
	return out
}

func purposeProto(p store.KeyPurpose) oauth2v1.SigningKey_Purpose {
	if p == store.BackendIdentity {
		return oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY
	}
	return oauth2v1.SigningKey_PURPOSE_ACCESS_TOKENS
}

// timeProto converts a time; zero is not set.
func timeProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
