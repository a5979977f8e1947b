package request

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// maxBytes is how large a page is, about: a message has 4 MiB at most.
const maxBytes = 2 << 20

// Page is the page that a list request asks for.
type Page struct {
	// Keys are those of the row before the page, nil for the first.
	Keys  []string
	size  int
	scope string
}

// NewPage reads the page of a list whose rows are found by so many keys; parts
// say which list it is.
func NewPage(size int32, token string, keys int, parts ...string) (Page, error) {
	p := Page{scope: page.Scope(parts...)}
	var err error
	if p.size, err = page.Size(size); err != nil {
		return Page{}, err
	}
	p.Keys, err = page.Keys(token, p.scope, keys)
	return p, err
}

// After is the place of a page in a list that begins with the oldest.
func (p Page) After() (store.Place, error) { return p.place(store.Place{}) }

// Before is the place of a page in a list that begins with the newest.
func (p Page) Before() (store.Place, error) { return p.place(store.Place{Time: math.MaxInt64}) }

func (p Page) place(first store.Place) (store.Place, error) {
	if p.Keys == nil {
		return first, nil
	}
	micros, err := p.Time()
	return store.Place{Time: micros, ID: p.Keys[1]}, err
}

// Time is the first key.
func (p Page) Time() (int64, error) {
	micros, err := strconv.ParseInt(p.Keys[0], 10, 64)
	if err != nil {
		return 0, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return micros, nil
}

// Limit is how many rows to read: one more than the page has, to know whether
// another follows.
func (p Page) Limit() int { return p.size + 1 }

// Cut converts as many rows as the page takes, and returns the token of the next
// page, if there is one. keys finds a row again.
func Cut[Row any, M proto.Message](p Page, rows []Row, convert func(Row) M, keys func(Row) []string) ([]M, string) {
	var all []M
	bytes := 0
	for i, row := range rows {
		m := convert(row)
		bytes += proto.Size(m)
		if len(all) == p.size || len(all) > 0 && bytes > maxBytes {
			return all, page.Token(p.scope, keys(rows[i-1])...)
		}
		all = append(all, m)
	}
	return all, ""
}

// TimeKeys are the keys of a row that is found by a time and an id.
func TimeKeys(micros int64, id string) []string {
	return []string{strconv.FormatInt(micros, 10), id}
}

// Field is a field of a filter. With a Prefix its values are names, of which the
// id is compared; with a Form they are those that match it, and compared whole.
type Field struct {
	Name, Prefix string
	Form         *Form
}

// Form is what the whole value of a field looks like.
type Form struct {
	pattern *regexp.Regexp
	text    string
}

// Prefixes of names.
const (
	UsersPrefix         = "users/"
	ApplicationsPrefix  = "applications/"
	SubscriptionsPrefix = "subscriptions/"
)

// Forms of names.
var (
	VersionName = &Form{regexp.MustCompile("^apis/[a-z0-9-]{1,64}/versions/[a-z0-9-]{1,64}$"), "apis/{api}/versions/{version}"}
	PlanName    = &Form{regexp.MustCompile("^plans/[a-z0-9-]{1,64}$"), "plans/{plan}"}
)

// Filter reads a filter on the given fields.
func Filter(text string, fields ...Field) (map[string]string, error) {
	var known []string
	for _, f := range fields {
		known = append(known, f.Name)
	}
	values, err := page.Filter(text, known...)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		value, ok := values[f.Name]
		switch {
		case !ok:
		case f.Form != nil && !f.Form.pattern.MatchString(value):
			return nil, fault.Invalid("filter", "%s must be %s", f.Name, f.Form.text)
		case f.Prefix != "":
			if values[f.Name], ok = strings.CutPrefix(value, f.Prefix); !ok || !resource.ValidID(values[f.Name]) {
				return nil, fault.Invalid("filter", "%s must be %s{id}", f.Name, f.Prefix)
			}
		}
	}
	return values, nil
}
