package applications

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/permit"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// defaultOverlap is how long the values before a rotation stay good where the caller does
// not say it.
const defaultOverlap = 24 * time.Hour

// CreateAPIKey adds an API key to an application. Only its first answer has the value.
func (a *API) CreateAPIKey(ctx context.Context, req *subscriptionv1.CreateAPIKeyRequest) (*subscriptionv1.APIKey, error) {
	c := identity.From(ctx)
	parent, err := resourcename.ParseApplication("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	format := a.keys[0]
	key := store.APIKey{
		Name: resourcename.APIKey{Application: parent.Application}, Stage: store.Stage(req.GetApiKey().GetStage()), Format: format.Name,
	}
	if key, err = withAPIKey(key, req.GetApiKey()); err != nil {
		return nil, err
	}
	if key.ExpiresAt, err = a.keyExpiry(req.GetApiKey().GetExpireTime()); err != nil {
		return nil, err
	}
	value := format.Make()
	key, made, err := a.store.CreateAPIKey(ctx, requestid.Of(ctx, req), c.Viewer(), key, token.HashKey(value), func(app store.Application) error {
		return c.MayChange(app.Owner)
	})
	if err != nil {
		return nil, err
	}
	out := a.apiKeyAnswer(key)
	if made {
		a.security.Write(ctx, securitylog.Event{Kind: securitylog.SecretMade, What: key.Name.String()})
		out.Key = value
	}
	return out, nil
}

// keyExpiry reads when a new API key expires; the zero time means never.
func (a *API) keyExpiry(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if t.CheckValid() != nil || !t.AsTime().After(a.now()) {
		return time.Time{}, fault.Invalid("api_key.expire_time", "must be in the future")
	}
	return t.AsTime(), nil
}

// GetAPIKey returns an API key, without its value.
func (a *API) GetAPIKey(ctx context.Context, req *subscriptionv1.GetAPIKeyRequest) (*subscriptionv1.APIKey, error) {
	name, err := resourcename.ParseAPIKey("name", req.GetName())
	if err != nil {
		return nil, err
	}
	key, err := a.store.APIKey(ctx, identity.From(ctx).Viewer(), name)
	if err != nil {
		return nil, err
	}
	return a.apiKeyAnswer(key), nil
}

// ListAPIKeys returns a page of the API keys of an application, without their values.
func (a *API) ListAPIKeys(ctx context.Context, req *subscriptionv1.ListAPIKeysRequest) (*subscriptionv1.ListAPIKeysResponse, error) {
	v := identity.From(ctx).Viewer()
	parent, err := resourcename.ParseApplication("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, v, parent.Application); err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	keys, next, err := page.Collect(p, a.store.APIKeys(ctx, v, parent.Application, p.After), store.APIKey.ListKey, a.apiKeyAnswer)
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListAPIKeysResponse{ApiKeys: keys, NextPageToken: next}, nil
}

// UpdateAPIKey changes an API key.
func (a *API) UpdateAPIKey(ctx context.Context, req *subscriptionv1.UpdateAPIKeyRequest) (*subscriptionv1.APIKey, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseAPIKey("api_key.name", req.GetApiKey().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetApiKey(), "display_name", "permitted_addresses", "permitted_referers")
	if err != nil {
		return nil, err
	}
	key, err := a.store.UpdateAPIKey(ctx, c.Viewer(), name, func(old store.APIKey) (store.APIKey, error) {
		if err := c.MayChange(old.Owner); err != nil {
			return old, err
		}
		next := a.apiKeyAnswer(old)
		if err := u.Apply(next); err != nil {
			return old, err
		}
		if err := validate.Message(&subscriptionv1.CreateAPIKeyRequest{Parent: store.ApplicationName(name.Application), ApiKey: next}); err != nil {
			return old, err
		}
		return withAPIKey(old, next)
	})
	if err != nil {
		return nil, err
	}
	return a.apiKeyAnswer(key), nil
}

// RotateAPIKey gives an API key a new value, which only the answer has.
func (a *API) RotateAPIKey(ctx context.Context, req *subscriptionv1.RotateAPIKeyRequest) (*subscriptionv1.APIKey, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseAPIKey("name", req.GetName())
	if err != nil {
		return nil, err
	}
	overlap := defaultOverlap
	if req.GetOverlap() != nil {
		overlap = req.GetOverlap().AsDuration()
	}
	var value string
	key, err := a.store.RotateAPIKey(ctx, c.Viewer(), name, overlap, func(old store.APIKey) ([]byte, error) {
		if err := c.MayChange(old.Owner); err != nil {
			return nil, err
		}
		if err := page.CheckEtag(req.GetEtag(), old.Etag); err != nil {
			return nil, err
		}
		format, known := a.keys.Named(old.Format)
		if !known || format.Make == nil {
			return nil, fault.Precondition("keys of the format %s are made elsewhere: create another API key", old.Format)
		}
		value = format.Make()
		return token.HashKey(value), nil
	})
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.KeyRotated, What: name.String(), Why: "values before are good for " + overlap.String()})
	out := a.apiKeyAnswer(key)
	out.Key = value
	return out, nil
}

// DeleteAPIKey removes an API key.
func (a *API) DeleteAPIKey(ctx context.Context, req *subscriptionv1.DeleteAPIKeyRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseAPIKey("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteAPIKey(ctx, c.Viewer(), name, func(key store.APIKey) error {
		if err := c.MayChange(key.Owner); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), key.Etag)
	})
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Revoked, What: name.String()})
	return &emptypb.Empty{}, nil
}

// withAPIKey returns the row with the fields that an update may set taken from k, as they
// are shown. Its error names those that are not good.
func withAPIKey(row store.APIKey, k *subscriptionv1.APIKey) (store.APIKey, error) {
	row.DisplayName = k.GetDisplayName()
	var wrong, more []fault.Violation
	row.Addresses, wrong = readEach("api_key.permitted_addresses", k.GetPermittedAddresses(), func(text string) (string, error) {
		network, err := netaddr.ParseNetwork(text)
		if err != nil {
			return "", fmt.Errorf("must be an IP address or a network such as 203.0.113.0/24: %w", err)
		}
		return netaddr.NetworkText(network), nil
	})
	row.Referers, more = readEach("api_key.permitted_referers", k.GetPermittedReferers(), func(text string) (string, error) {
		r, err := permit.ParseReferer(text)
		return r.String(), err
	})
	return row, fault.InvalidAll(append(wrong, more...)...)
}

// readEach reads the values of a field, and returns them as they are shown.
func readEach(field string, values []string, read func(string) (string, error)) (out []string, wrong []fault.Violation) {
	for i, text := range values {
		shown, err := read(text)
		switch at := fmt.Sprintf("%s[%d]", field, i); {
		case err != nil:
			wrong = append(wrong, fault.Violation{Field: at, Message: err.Error()})
		case slices.Contains(out, shown):
			wrong = append(wrong, fault.Violation{Field: at, Message: "must not be there twice"})
		default:
			out = append(out, shown)
		}
	}
	return out, wrong
}

// apiKeyAnswer returns an API key as it is now, without its value.
func (a *API) apiKeyAnswer(k store.APIKey) *subscriptionv1.APIKey {
	out := apiKeyProto(k)
	if !k.ReplacedUntil.After(a.now()) {
		out.ReplacedExpireTime = nil
	}
	return out
}

func apiKeyProto(k store.APIKey) *subscriptionv1.APIKey {
	out := &subscriptionv1.APIKey{
		Name: k.Name.String(), DisplayName: k.DisplayName, Stage: catalogv1.Stage(k.Stage),
		PermittedAddresses: k.Addresses, PermittedReferers: k.Referers,
		CreateTime: timestamppb.New(k.CreatedAt), UpdateTime: timestamppb.New(k.UpdatedAt), Etag: page.Etag(k.Etag),
	}
	for _, t := range []struct {
		to   **timestamppb.Timestamp
		from time.Time
	}{{&out.ExpireTime, k.ExpiresAt}, {&out.LastUseTime, k.LastUsedAt}, {&out.ReplacedExpireTime, k.ReplacedUntil}} {
		if !t.from.IsZero() {
			*t.to = timestamppb.New(t.from)
		}
	}
	return out
}
