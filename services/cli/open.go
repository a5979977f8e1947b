package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/cli/browser"
)

// openCmd opens the portal's pages.
type openCmd struct {
	Page   string `arg:"" default:"portal" enum:"portal,publisher,devportal,admin" help:"Which part: publisher, devportal, admin, or portal for the one that the user's roles are for (${default})."`
	Print  bool   `help:"Print the address only."`
	Portal string `placeholder:"URL" help:"The portal's URL. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
}

// Run opens the pages in the browser that the system has for that.
func (c *openCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	given := c.Portal
	if sample := cl.sample(); given == "" && sample != nil {
		given = sample.Portal // where it is now; the issuer is where it was at the first start
	}
	portal, err := cl.portal(ctx, given)
	if err != nil {
		return err
	}
	address := strings.TrimSuffix(portal, "/") + "/" + strings.TrimPrefix(c.Page, "portal")
	if s.whole() {
		err = s.printValue(map[string]string{"address": address})
	} else {
		_, err = fmt.Fprintln(s.Stdout, address)
	}
	if err != nil || c.Print {
		return err
	}
	if err := browser.OpenURL(address); err != nil {
		return fmt.Errorf("no browser opens here: open %s yourself, or give --print", address)
	}
	return nil
}
