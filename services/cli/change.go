package cli

import (
	"context"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
)

// allServices names all services that have changes (AIP-159).
const allServices = "services/-"

// changeCmds are the commands about changes.
type changeCmds struct {
	List changeListCmd `cmd:"" help:"List the newest changes: who did what, and when. Only administrators see them."`
	Get  changeGetCmd  `cmd:"" help:"Show what a change did."`
}

// changeListCmd lists changes.
type changeListCmd struct {
	Service  string `enum:"catalog,subscription," default:"" placeholder:"SERVICE" help:"Show only changes of this service: catalog or subscription."`
	Actor    string `placeholder:"USERNAME" help:"Show only changes by this user, by the username of then or users/…, or by services/…."`
	Action   string `placeholder:"METHOD" help:"Show only changes by this method, such as PublishVersion."`
	Resource string `placeholder:"RESOURCE" help:"Show only changes of this resource: what it was called then, such as EchoWebSocket/1.0.0, or its resource name."`
	Limit    int32  `default:"50" help:"How many to show, 1 to 1000."`

	timeFlags `embed:""`
}

// Run lists the changes.
func (c *changeListCmd) Run(ctx context.Context, s *shell) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usagef("--limit: %d is not between 1 and 1000", c.Limit)
	}
	start, end, err := c.times()
	if err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	var known bool
	c.Action, known = method(c.Action)
	parent := allServices
	if c.Service != "" {
		parent = "services/" + c.Service
	}
	req := &changev1.ListChangesRequest{Parent: parent, StartTime: start, EndTime: end, Filter: c.filter()}
	list := &changev1.ListChangesResponse{}
	err = everyPage(func(token string) (string, error) {
		req.PageSize, req.PageToken = c.Limit-int32(len(list.GetChanges())), token
		page, err := cl.changes.ListChanges(ctx, req)
		list.Changes = append(list.Changes, page.GetChanges()...)
		if len(list.GetChanges()) >= int(c.Limit) {
			return "", err
		}
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if c.Action != "" && !known && len(list.GetChanges()) == 0 { // a newer server may have it
		return usagef("--action: there is no method %s, and no change by one", c.Action)
	}
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	for _, ch := range list.GetChanges() {
		rows = append(rows, []string{
			when(ch.GetCreateTime()), called(ch.GetActorDisplayName(), ch.GetActor()), ch.GetAction(),
			called(ch.GetResourceDisplayName(), ch.GetResource()), changedFields(ch), changeID(ch),
		})
	}
	return s.printTable([]string{"TIME", "BY", "ACTION", "RESOURCE", "FIELDS", "CHANGE"}, rows)
}

// filter returns the filter of the list.
func (c *changeListCmd) filter() string {
	return join(byName("actor", c.Actor), where("action", c.Action), byName("resource", c.Resource))
}

// method returns the method that has this name, in any case, and whether this program
// knows it.
func method(name string) (proper string, known bool) {
	proper = name
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "tidegate.") {
			return true
		}
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if m := string(methods.Get(j).Name()); strings.EqualFold(m, name) {
					proper, known = m, true
				}
			}
		}
		return !known
	})
	return proper, known
}

// where returns a filter for one field, "" for no value.
func where(field, value string) string {
	if value == "" {
		return ""
	}
	return filter(field, value)
}

// byName returns a filter for a field whose value is a resource name, or for what users
// called it.
func byName(field, value string) string {
	collection, rest, _ := strings.Cut(value, "/")
	switch collection {
	case "apis", "plans", "users", "applications", "subscriptions", "grants", "services":
		if rest != "" {
			return where(field, value)
		}
	}
	return where(field+"_display_name", value)
}

// called is what users call something, or its resource name if they call it nothing.
func called(label, name string) string {
	if label != "" {
		return label
	}
	return name
}

// changedFields are the names of the fields that a change changed.
func changedFields(ch *changev1.Change) string {
	fields := make([]string, len(ch.GetFieldChanges()))
	for i, f := range ch.GetFieldChanges() {
		fields[i] = f.GetField()
	}
	return strings.Join(fields, ", ")
}

// changeID names a change in a word: catalog/7 for services/catalog/changes/7.
func changeID(ch *changev1.Change) string {
	return strings.Replace(strings.TrimPrefix(ch.GetName(), "services/"), "/changes/", "/", 1)
}

// changeGetCmd shows a change.
type changeGetCmd struct {
	Change string `arg:"" help:"The change, such as catalog/7 or services/catalog/changes/7."`
}

// Run shows the change.
func (c *changeGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	name := c.Change
	if service, number, ok := strings.Cut(name, "/"); ok && !strings.Contains(number, "/") {
		name = "services/" + service + "/changes/" + number
	}
	ch, err := cl.changes.GetChange(ctx, &changev1.GetChangeRequest{Name: name})
	if absent(err) {
		return unknown("CHANGE", "change", c.Change, "change list")
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(ch)
	}
	fields := [][2]string{
		{"Change", changeID(ch)}, {"Time", when(ch.GetCreateTime())},
		{"By", ch.GetActorDisplayName()}, {"", ch.GetActor()}, {"Action", ch.GetAction()},
		{"Resource", ch.GetResourceDisplayName()}, {"", ch.GetResource()},
	}
	for _, f := range ch.GetFieldChanges() {
		text := called(f.GetOldValue(), "-") + " → " + called(f.GetNewValue(), "-")
		if f.GetSecret() {
			text = "changed (secret)"
		}
		fields = append(fields, [2]string{f.GetField(), text})
	}
	return s.printFields(fields...)
}
