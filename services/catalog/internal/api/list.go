package api

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// orderOf reads the order_by of a list, which the proto's rules have checked.
func orderOf(text string) store.Order {
	field, desc := strings.CutSuffix(text, " desc")
	by := map[string]store.By{"display_name": store.ByName, "api": store.ByName, "context": store.ByContext}
	return store.Order{By: by[field], Desc: desc}
}

// maxBatch is roughly the largest total size of the resources of a batch: a message may
// have 4 MiB.
const maxBatch = 3 << 20

// batch returns resources that the caller sees, in the order of their names. parse reads a
// name, id returns the id in it, and read returns the rows with these ids.
func batch[N interface {
	comparable
	fmt.Stringer
}, Row interface{ Name() N }, M proto.Message](
	req interface {
		GetNames() []string
		GetAllowMissing() bool
	},
	parse func(field, name string) (N, error), id func(N) string, read func(ids []string) (map[string]Row, error), convert func(Row) M,
) ([]M, error) {
	var names []N
	var ids []string
	for i, text := range req.GetNames() {
		name, err := parse(fmt.Sprintf("names[%d]", i), text)
		if err != nil {
			return nil, err
		}
		names, ids = append(names, name), append(ids, id(name))
	}
	rows, err := read(ids)
	if err != nil {
		return nil, err
	}
	var all []M
	size := 0
	for _, name := range names {
		row, ok := rows[id(name)]
		if !ok || row.Name() != name {
			if req.GetAllowMissing() {
				continue
			}
			return nil, fault.NotFound("%s", name)
		}
		m := convert(row)
		if size += proto.Size(m); size > maxBatch {
			return nil, fault.Invalid("names", "must be fewer: the answer would have more than 3 MiB")
		}
		all = append(all, m)
	}
	return all, nil
}
