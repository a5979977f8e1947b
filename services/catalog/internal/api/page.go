package api

import (
	"iter"
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

// chunk is how many rows are read at a time: a page of large rows ends long
// before it has all that it may have.
const chunk = 100

// placed is a row that knows where it stands in its list.
type placed interface{ After() store.After }

// rows reads a list after a row, limit rows at a time.
func rows[Row placed](after store.After, limit int, list func(store.After, int) ([]Row, error)) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			some, err := list(after, limit)
			if err != nil {
				var none Row
				yield(none, err)
				return
			}
			for _, row := range some {
				if !yield(row, nil) {
					return
				}
				after = row.After()
			}
			if len(some) < limit {
				return
			}
		}
	}
}

// read reads as many rows as the page takes and converts them. It returns the
// token of the next page too, if there is one.
func read[Row placed, M proto.Message](p listPage, list func(store.After, int) ([]Row, error), convert func(Row) M) ([]M, string, error) {
	var all []M
	var last store.After
	bytes := 0
	// One more than the page has tells whether another follows.
	for row, err := range rows(p.after, min(p.size+1, chunk), list) {
		if err != nil {
			return nil, "", err
		}
		m := convert(row)
		bytes += proto.Size(m)
		if len(all) == p.size || len(all) > 0 && bytes > maxBytes {
			return all, page.Token(p.scope, strconv.FormatInt(last.Micros, 10), last.ID), nil
		}
		all, last = append(all, m), row.After()
	}
	return all, "", nil
}

// term is the value of a filter's field, nil where the filter has none.
func term(terms map[string]string, field string) *string {
	value, ok := terms[field]
	if !ok {
		return nil
	}
	return &value
}
