package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/rest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/admin"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/console"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/devportal"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/publisher"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/signin"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// PagesConfig is what the pages need.
type PagesConfig struct {
	// Services are those that pages call.
	Services *ui.Services
	// Key seals cookies.
	Key *seal.Key
	// FirstPassword is as in signin.Config.
	FirstPassword func(context.Context) string
	// Authority is as in devportal.Routes.
	Authority string
	// Console has the pages of consoles, whose sockets end with its Run.
	Console *console.Console
	// Log gets what goes wrong.
	Log *slog.Logger
}

// NewPages returns the handler of all pages.
func NewPages(cfg PagesConfig) (http.Handler, error) {
	keeper, routes := pages(cfg)
	return ui.NewSite(routes, keeper, cfg.Key, http.HandlerFunc(rest.WriteNotFound), cfg.Log)
}

// pages returns the table of all pages, and who keeps users signed in to them.
func pages(cfg PagesConfig) (*signin.SignIn, []ui.Route) {
	keeper := signin.New(signin.Config{Services: cfg.Services, Key: cfg.Key, FirstPassword: cfg.FirstPassword, Now: time.Now})
	routes := keeper.Routes()
	routes = append(routes, publisher.Routes(cfg.Services)...)
	routes = append(routes, devportal.Routes(cfg.Services, cfg.Authority)...)
	routes = append(routes, admin.Routes(cfg.Services)...)
	routes = append(routes, cfg.Console.Routes()...)
	return keeper, routes
}

// Routes returns the table of all pages, for tests that walk it.
func Routes() []ui.Route {
	_, routes := pages(PagesConfig{Services: &ui.Services{}, Console: console.New(console.Config{})})
	return routes
}
