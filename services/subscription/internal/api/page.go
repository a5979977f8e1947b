package api

import (
	"math"
	"regexp"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// maxBytes is how large a page is, about: a message has 4 MiB at most.
const maxBytes = 2 << 20

// listPage is the page that a list request asks for.
type listPage struct {
	size  int
	scope string
	// keys are those of the row before the page, nil for the first.
	keys []string
}

// newPage reads the page of a list whose rows are found by so many keys; parts
// say which list it is.
func newPage(size int32, token string, keys int, parts ...string) (listPage, error) {
	p := listPage{scope: page.Scope(parts...)}
	var err error
	if p.size, err = page.Size(size); err != nil {
		return listPage{}, err
	}
	p.keys, err = page.Keys(token, p.scope, keys)
	return p, err
}

// after is the place of a page in a list that begins with the oldest.
func (p listPage) after() (store.Place, error) { return p.place(store.Place{}) }

// before is the place of a page in a list that begins with the newest.
func (p listPage) before() (store.Place, error) { return p.place(store.Place{Time: math.MaxInt64}) }

func (p listPage) place(first store.Place) (store.Place, error) {
	if p.keys == nil {
		return first, nil
	}
	micros, err := p.time()
	return store.Place{Time: micros, ID: p.keys[1]}, err
}

// time is the first key.
func (p listPage) time() (int64, error) {
	micros, err := strconv.ParseInt(p.keys[0], 10, 64)
	if err != nil {
		return 0, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return micros, nil
}

// limit is how many rows to read: one more than the page has, to know whether
// another follows.
func (p listPage) limit() int { return p.size + 1 }

// cut converts as many rows as the page takes, and returns the token of the next
// page, if there is one. keys finds a row again.
func cut[Row any, M proto.Message](p listPage, rows []Row, convert func(Row) M, keys func(Row) []string) ([]M, string) {
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

// timeKeys are the keys of a row that is found by a time and an id.
func timeKeys(micros int64, id string) []string {
	return []string{strconv.FormatInt(micros, 10), id}
}

// field is a field of a filter. With a prefix its values are names, of which the
// id is compared; with a form they are those that match it, and compared whole.
type field struct {
	name, prefix string
	form         *form
}

// form is what the whole value of a field looks like.
type form struct {
	pattern *regexp.Regexp
	text    string
}

var (
	versionName = &form{regexp.MustCompile("^apis/[a-z0-9-]{1,64}/versions/[a-z0-9-]{1,64}$"), "apis/{api}/versions/{version}"}
	planName    = &form{regexp.MustCompile("^plans/[a-z0-9-]{1,64}$"), "plans/{plan}"}
)

// filter reads a filter on the given fields.
func filter(text string, fields ...field) (map[string]string, error) {
	var known []string
	for _, f := range fields {
		known = append(known, f.name)
	}
	values, err := page.Filter(text, known...)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		value, ok := values[f.name]
		switch {
		case !ok:
		case f.form != nil && !f.form.pattern.MatchString(value):
			return nil, fault.Invalid("filter", "%s must be %s", f.name, f.form.text)
		case f.prefix != "":
			if values[f.name], ok = idOf(f.prefix, value); !ok {
				return nil, fault.Invalid("filter", "%s must be %s{id}", f.name, f.prefix)
			}
		}
	}
	return values, nil
}
