package applications

import "github.com/tidegatehq/tidegate/services/kit/fault"

// batch is what each request for several resources has.
type batch interface {
	GetNames() []string
	GetAllowMissing() bool
}

// ids returns the ids in the names of a request.
func ids[N any](req batch, parse func(field, name string) (N, error), id func(N) string) ([]string, error) {
	all := make([]string, len(req.GetNames()))
	for i, text := range req.GetNames() {
		name, err := parse("names", text)
		if err != nil {
			return nil, err
		}
		all[i] = id(name)
	}
	return all, nil
}

// inOrder returns rows as resources, in the order of their names in a request.
func inOrder[Row any, R interface{ GetName() string }](req batch, rows []Row, convert func(Row) R) ([]R, error) {
	found := make(map[string]R, len(rows))
	for _, row := range rows {
		r := convert(row)
		found[r.GetName()] = r
	}
	var all []R
	for _, name := range req.GetNames() {
		r, ok := found[name]
		switch {
		case ok:
			all = append(all, r)
		case !req.GetAllowMissing():
			return nil, fault.NotFound("%s", name)
		}
	}
	return all, nil
}
