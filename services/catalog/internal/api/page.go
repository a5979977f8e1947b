package api

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// maxBytes is how large a page is, about: a message has 4 MiB at most.
const maxBytes = 2 << 20

// listPage is the page that a list request asks for.
type listPage struct {
	size  int
	scope string
	after store.After
}

// newPage reads the page of a list; parts say which list it is.
func newPage(size int32, token string, parts ...string) (listPage, error) {
	p := listPage{scope: page.Scope(parts...)}
	var err error
	if p.size, err = page.Size(size); err != nil {
		return listPage{}, err
	}
	keys, err := page.Keys(token, p.scope, 2)
	if err != nil || keys == nil {
		return p, err
	}
	p.after.ID = keys[1]
	if p.after.Micros, err = strconv.ParseInt(keys[0], 10, 64); err != nil {
		return listPage{}, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return p, nil
}

// limit is how many rows to read: one more than the page has, to know whether
// another follows.
func (p listPage) limit() int { return p.size + 1 }

// cut converts as many rows as the page takes, and returns the token of the next
// page, if there is one. Convert returns where the row stands too.
func cut[Row any, M proto.Message](p listPage, rows []Row, convert func(Row) (M, store.After)) ([]M, string) {
	var all []M
	var last store.After
	bytes := 0
	for _, row := range rows {
		m, at := convert(row)
		bytes += proto.Size(m)
		if len(all) == p.size || len(all) > 0 && bytes > maxBytes {
			return all, page.Token(p.scope, strconv.FormatInt(last.Micros, 10), last.ID)
		}
		all, last = append(all, m), at
	}
	return all, ""
}

// term is the value of a filter's field, nil where the filter has none.
func term(terms map[string]string, field string) *string {
	value, ok := terms[field]
	if !ok {
		return nil
	}
	return &value
}
