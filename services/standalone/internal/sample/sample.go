// Package sample makes what a newcomer tries first: an echo backend, an API
// EchoWebSocket in front of it, and an application EchoSample that is subscribed to it.
// It makes them through the public gRPC, as a user would.
//
// The sample is made once. Later starts update the endpoint if the backend's address has
// changed. What the user has changed or deleted since stays so; without sample.json the
// sample is made again.
package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
	"github.com/tidegatehq/tidegate/services/kit/samplefile"
)

// Names of the sample's resources.
const (
	APIName    = "EchoWebSocket"
	APIContext = "/echowebsocket"
	APIVersion = "1.0.0"
	AppName    = "EchoSample"
	// file is where the sample's secret is kept, in the data folder.
	file = samplefile.Name
)

// Files keeps the sample's file.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, content []byte) error
}

// Config says where everything is.
type Config struct {
	// Files is the data folder.
	Files Files
	// Conn leads to the public gRPC.
	Conn *grpc.ClientConn
	// Server is the address of that gRPC, Portal the portal's URL and Address where
	// clients reach the sample, as users know them.
	Server, Portal, Address string
	// Backend is the URL of the echo backend.
	Backend string
	// Username and Password are an administrator's; the password is empty when it is
	// no longer known.
	Username, Password string
	// Log receives the details that the banner leaves out.
	Log *slog.Logger
}

// sample makes the sample.
type sample struct {
	Config
	kept samplefile.File

	catalog catalogv1.CatalogServiceClient
	changes changev1.ChangeServiceClient
	signIns identityv1.SignInServiceClient
	users   identityv1.UserServiceClient
	apps    subscriptionv1.ApplicationServiceClient
	subs    subscriptionv1.SubscriptionServiceClient
	oauth   oauth2v1.OAuth2ServiceClient
}

// Prepare makes or finds the sample, checks that it gets tokens, and keeps where it is.
// Its error is meant for the newcomer.
func Prepare(ctx context.Context, cfg Config) error {
	s := &sample{
		Config:  cfg,
		catalog: catalogv1.NewCatalogServiceClient(cfg.Conn),
		changes: changev1.NewChangeServiceClient(cfg.Conn),
		signIns: identityv1.NewSignInServiceClient(cfg.Conn),
		users:   identityv1.NewUserServiceClient(cfg.Conn),
		apps:    subscriptionv1.NewApplicationServiceClient(cfg.Conn),
		subs:    subscriptionv1.NewSubscriptionServiceClient(cfg.Conn),
		oauth:   oauth2v1.NewOAuth2ServiceClient(cfg.Conn),
	}
	if err := s.load(); err != nil {
		return err
	}
	if !s.kept.Made {
		if err := s.asAdmin(ctx, s.make); err != nil {
			return fmt.Errorf("make the sample: %w", plain(err))
		}
	} else if err := s.asAdmin(ctx, s.inspect); err != nil {
		if !errors.Is(err, errSignIn) {
			return plain(err)
		}
		cfg.Log.Info("the sample is not looked after: the administrator's password is no longer the one made at the first start")
	}
	if err := s.token(ctx); err != nil {
		return err
	}
	return s.place()
}

// place keeps where the sample is and what it is called, for the command line.
func (s *sample) place() error {
	before := s.kept
	s.kept.Server, s.kept.Portal, s.kept.Address, s.kept.API, s.kept.App = s.Server, s.Portal, s.Address, APIName+"/"+APIVersion, AppName
	if s.kept == before {
		return nil
	}
	return s.save()
}

// plain returns the message of a status without gRPC's words around it.
func plain(err error) error {
	var of interface{ GRPCStatus() *status.Status }
	if errors.As(err, &of) {
		return errors.New(of.GRPCStatus().Message())
	}
	return err
}

func (s *sample) load() error {
	text, err := s.Files.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the sample's secret: %w", err)
	}
	if err := json.Unmarshal(text, &s.kept); err != nil {
		return fmt.Errorf("%s is damaged; remove it and start again to have the sample made anew", file)
	}
	return nil
}

func (s *sample) save() error {
	text, err := json.MarshalIndent(s.kept, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the sample's secret: %w", err)
	}
	return s.Files.Write(file, append(text, '\n'))
}

// errSignIn says that the administrator's password has been changed.
var errSignIn = errors.New("the administrator's password is not the one made at the first start")

// asAdmin runs do signed in as the administrator.
func (s *sample) asAdmin(ctx context.Context, do func(context.Context) error) error {
	if s.Password == "" {
		return errSignIn
	}
	in, err := s.signIns.SignIn(ctx, &identityv1.SignInRequest{Username: s.Username, Password: s.Password})
	if status.Code(err) == codes.Unauthenticated {
		return errSignIn
	}
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	err = do(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+in.GetAccessToken()))
	if _, out := s.signIns.SignOut(ctx, &identityv1.SignOutRequest{RefreshToken: in.GetRefreshToken()}); out != nil {
		s.Log.Debug("the sign-in for the sample goes on until it expires", "error", out)
	}
	return err
}

// errGone says that the user has deleted the sample or a part of it.
var errGone = errors.New("it was changed or deleted since it was made; remove " + file + " from the data folder and start again to have it made anew")

// inspect checks that the sample is still there, and updates its endpoint if the
// backend's address has changed.
func (s *sample) inspect(ctx context.Context) error {
	v, err := s.catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: s.kept.Version})
	if status.Code(err) == codes.NotFound {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("inspect the sample: %w", err)
	}
	if v.GetState() != catalogv1.Version_STATE_PUBLISHED {
		return errGone
	}
	_, err = s.subs.GetSubscription(ctx, &subscriptionv1.GetSubscriptionRequest{Name: s.kept.Subscription})
	if status.Code(err) == codes.NotFound {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("inspect the sample: %w", err)
	}
	return s.moveBackend(ctx, v)
}

// token checks that the sample's OAuth client gets a token.
func (s *sample) token(ctx context.Context) error {
	_, err := s.oauth.IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType:         "client_credentials",
		ClientCredentials: &oauth2v1.ClientCredentials{ClientId: s.kept.ClientID, ClientSecret: s.kept.ClientSecret},
	})
	if oauthcode.Of(err) == oauthcode.InvalidClient {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("get a token: %w", plain(err))
	}
	return nil
}
