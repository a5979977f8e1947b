package cli

import (
	"context"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// apiListCmd lists APIs.
type apiListCmd struct {
	Name  string `arg:"" optional:"" help:"Show only the API of this name."`
	State string `enum:"created,published," default:"" placeholder:"STATE" help:"Show only APIs with a version in this state: created or published."`
	Tag   string `placeholder:"WORD" help:"Show only APIs with a version that has this tag, and is in the state."`
	Query string `placeholder:"TEXT" help:"Show only APIs with this in their name or context."`
	Order string `enum:"oldest,newest,name,name-desc,context,context-desc" default:"oldest" placeholder:"ORDER" help:"Order: oldest (first), newest, name, name-desc, context or context-desc. Default: oldest."`
}

// Run lists the APIs.
func (c *apiListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := c.filter(ctx, cl)
	if err != nil {
		return err
	}
	list := &catalogv1.ListApisResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.catalog.ListApis(ctx, &catalogv1.ListApisRequest{
			Filter: only, Query: c.Query, OrderBy: orderBy(c.Order), PageSize: pageSize, PageToken: token,
		})
		list.Apis = append(list.Apis, page.GetApis()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	return s.showAPIs(ctx, cl, list.GetApis())
}

// mostParents is how many APIs a list of versions may be of.
const mostParents = 100

// showAPIs prints APIs as a table.
func (s *shell) showAPIs(ctx context.Context, cl *client, apis []*catalogv1.Api) error {
	req := &catalogv1.ListVersionsRequest{Parent: "apis/-"}
	if len(apis) <= mostParents {
		for _, a := range apis {
			req.Apis = append(req.Apis, a.GetName())
		}
	}
	var versions []*catalogv1.Version
	if len(apis) > 0 {
		var err error
		if versions, err = cl.listVersions(ctx, req); err != nil {
			return err
		}
	}
	of := map[string][]string{}
	for _, v := range versions {
		of[parent(v.GetName())] = append(of[parent(v.GetName())], v.GetVersion()+" "+word(v.GetState(), "STATE_"))
	}
	var rows [][]string
	for _, a := range apis {
		rows = append(rows, []string{a.GetDisplayName(), a.GetContext(), strings.Join(of[a.GetName()], ", "), a.GetName()})
	}
	return s.printTable([]string{"API", "CONTEXT", "VERSIONS", "NAME"}, rows)
}

// orderBy returns the order_by of a list in an order.
func orderBy(order string) string {
	field, desc := strings.CutSuffix(order, "-desc")
	switch field {
	case "oldest":
		return "create_time"
	case "newest":
		return "create_time desc"
	case "name":
		field = "display_name"
	}
	if desc {
		field += " desc"
	}
	return field
}

// filter returns the filter of the list. An API of another name than any is refused.
func (c *apiListCmd) filter(ctx context.Context, cl *client) (string, error) {
	if c.Name == "" {
		return join(where("state", strings.ToUpper(c.State)), where("tags", c.Tag)), nil
	}
	api, err := cl.api(ctx, c.Name)
	if err != nil {
		return "", err
	}
	return join(filter("display_name", api.GetDisplayName()), where("state", strings.ToUpper(c.State)), where("tags", c.Tag)), nil
}
