package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// limitKind is a kind of limits with its form.
type limitKind struct {
	// name is that in addresses and, as title, that for users.
	name, title string
	// is reports whether a limit is of the kind.
	is func(*catalogv1.Limit) bool
	// fields are the entries of a limit besides its name, with what it has. path is that of
	// the limit in requests.
	fields func(l *catalogv1.Limit, path string) []ui.Field
	// set puts the entries into a limit. What is wrong with one it says at the entry.
	set func(form *ui.Form, was, next *catalogv1.Limit)
}

// limitKinds are all kinds of limits.
func limitKinds() []limitKind {
	return []limitKind{
		{"rate", "Rate", func(l *catalogv1.Limit) bool { return l.GetRate() != nil }, rateFields, setRate},
		{"quota", "Quota", func(l *catalogv1.Limit) bool { return l.GetQuota() != nil }, quotaFields, setQuota},
		{"connections", "Connections at once", func(l *catalogv1.Limit) bool { return l.GetConnections() != nil }, connectionsFields, setConnections},
		{"message-size", "Greatest message", func(l *catalogv1.Limit) bool { return l.GetMessageSize() != nil }, messageSizeFields, setMessageSize},
		{"session-age", "Greatest age of a session", func(l *catalogv1.Limit) bool { return l.GetSessionAge() != nil }, sessionAgeFields, setSessionAge},
	}
}

// newLimit adds a limit to a plan.
func (p *pages) newLimit() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(plansPath+"/{plan}/add-limit", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		plan, err := p.getPlan(r)
		if err != nil {
			return nil, err
		}
		kinds := limitKinds()
		i := max(slices.IndexFunc(kinds, func(k limitKind) bool { return k.name == r.URL.Query().Get("kind") }), 0)
		return p.limitForm(r, t, plan, kinds[i], len(plan.GetLimits()))
	})
}

// editLimit changes a limit of a plan.
func (p *pages) editLimit() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(plansPath+"/{plan}/limits/{limit}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		plan, i, err := p.getLimit(r)
		if err != nil {
			return nil, err
		}
		for _, k := range limitKinds() {
			if k.is(plan.GetLimits()[i]) {
				return p.limitForm(r, t, plan, k, i)
			}
		}
		return nil, fault.Unimplemented("this portal does not know this kind of limit")
	})
}

// getLimit reads the plan, and finds the limit, that a request's path names.
func (p *pages) getLimit(r *ui.Request) (*catalogv1.Plan, int, error) {
	plan, err := p.getPlan(r)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(plan.GetLimits(), func(l *catalogv1.Limit) bool { return l.GetName() == r.PathValue("limit") })
	if i < 0 {
		return nil, 0, fault.NotFound("the plan has no such limit")
	}
	return plan, i, nil
}

// limitForm shows and carries out the form of the plan's limit with number i, which may be
// one that is not there yet. It says what a change touches.
func (p *pages) limitForm(r *ui.Request, t *ui.Template[formView], plan *catalogv1.Plan, k limitKind, i int) (ui.Answer, error) {
	was, title, to := &catalogv1.Limit{}, "Add a limit to "+plan.GetDisplayName(), planPath(plan.GetName())+"/add-limit?kind="+k.name
	if i < len(plan.GetLimits()) {
		was = plan.GetLimits()[i]
		title, to = "Change "+was.GetName()+" of "+plan.GetDisplayName(), limitPath(plan, was)
	}
	fields := limitFields(k, was, fmt.Sprintf("plan.limits[%d]", i))
	fields = append(fields, ui.Field{Name: "etag", Kind: "hidden", Value: plan.GetEtag()})
	form := ui.NewForm(r, fields...)
	if r.Submitted() && form.Complete() {
		next := &catalogv1.Limit{Name: form.Get("name"), Observe: form.Has("observe") && form.Get("observe") == "on"}
		k.set(form, was, next)
		if form.Good() {
			limits := append(slices.Clone(plan.GetLimits()), next)
			if i < len(plan.GetLimits()) {
				limits = slices.Replace(slices.Clone(plan.GetLimits()), i, i+1, next)
			}
			err := p.setLimits(r, plan, form.Get("etag"), limits)
			if err == nil {
				return ui.Done(planPath(plan.GetName()), "The limits of %s are changed. They hold for live sessions within a second.", plan.GetDisplayName()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		if form.Conflict {
			form.Compare(plan.GetEtag(), ui.Stored(fields))
		}
	}
	use, err := p.use(r, plan)
	if err != nil {
		return nil, err
	}
	return t.Page(ui.Head{Title: title, Here: k.title, Status: form.Status(), Crumbs: planCrumbs(plan)},
		formView{Form: form, Text: []string{use.Words()}, Button: "Save", To: to, Back: planPath(plan.GetName())}), nil
}

// setLimits changes the limits of a plan.
func (p *pages) setLimits(r *ui.Request, plan *catalogv1.Plan, etag string, limits []*catalogv1.Limit) error {
	_, err := p.Catalog.UpdatePlan(r.Context(), &catalogv1.UpdatePlanRequest{
		Plan: &catalogv1.Plan{Name: plan.GetName(), Etag: etag, Limits: limits}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"limits"}},
	})
	return err
}

// removeLimit takes a limit from a plan, after a page that says what that touches.
func (p *pages) removeLimit() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(plansPath+"/{plan}/limits/{limit}/remove", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		plan, i, err := p.getLimit(r)
		if err != nil {
			return nil, err
		}
		path, l := planPath(plan.GetName()), plan.GetLimits()[i]
		if r.Submitted() {
			if err := p.setLimits(r, plan, r.PostForm.Get("etag"), slices.Delete(slices.Clone(plan.GetLimits()), i, i+1)); err != nil {
				return nil, err
			}
			return ui.Done(path, "%s has the limit %s no more.", plan.GetDisplayName(), l.GetName()), nil
		}
		use, err := p.use(r, plan)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, ui.Field{Name: "etag", Kind: "hidden", Value: plan.GetEtag()})
		return t.Page(ui.Head{Title: "Remove " + l.GetName() + " from " + plan.GetDisplayName() + "?", Here: "Remove", Status: http.StatusOK, Crumbs: planCrumbs(plan)},
			formView{Form: form, Text: []string{"It lets pass: " + ui.Promise(l) + ".", use.Words() + " No session ends."}, Button: "Remove", To: limitPath(plan, l) + "/remove", Back: path}), nil
	})
}

// limitFields are the entries of a limit: its name, those of its kind, and what it does.
func limitFields(k limitKind, l *catalogv1.Limit, path string) []ui.Field {
	fields := k.fields(l, path)
	if k.name != "message-size" && k.name != "session-age" {
		fields = append(fields, tick("observe", "Only count what it would refuse", l.GetObserve(), "Nobody is held back; the usage pages show whom it would have hit.", path+".observe"))
	}
	return append(fields, ui.Field{Name: "name", Label: "Name of the limit", Max: 63, Code: true, Value: l.GetName(), Placeholder: "messages-rate",
		Hint: "What records and usage call it. Empty for one that says what it is. What was used stays used while it keeps its name.", Paths: []string{path + ".name", path}})
}

// tick is a field that is on or not.
func tick(name, label string, on bool, hint, path string) ui.Field {
	f := ui.Field{Name: name, Label: label, Kind: "check", Options: []ui.Option{{Value: "on", Text: "yes"}, {Value: "", Text: "no"}}, Hint: hint, Paths: []string{path}}
	if on {
		f.Value = "on"
	}
	return f
}

// The options of limits.
func unitOptions(units ...string) []ui.Option {
	var all []ui.Option
	for _, unit := range units {
		all = append(all, ui.Option{Value: unit, Text: strings.ToUpper(unit[:1]) + strings.ToLower(unit[1:])})
	}
	return all
}

func reactionOptions() []ui.Option {
	return []ui.Option{
		{Value: "", Text: "What is usual for it"}, {Value: "PAUSE", Text: "It waits"}, {Value: "DROP", Text: "The message is left out"},
		{Value: "CLOSE", Text: "The session ends"}, {Value: "REFUSE", Text: "The handshake is refused"}, {Value: "CLOSE_OLDEST", Text: "The oldest session ends"},
	}
}

// reactionField is what happens to what does not fit; only names those of the kind.
func reactionField(l *catalogv1.Limit, path, hint string, only ...string) ui.Field {
	options := slices.DeleteFunc(reactionOptions(), func(o ui.Option) bool { return o.Value != "" && !slices.Contains(only, o.Value) })
	return ui.Field{Name: "reaction", Label: "What does not fit", Kind: "select", Options: options, Value: ui.EnumEntry(l.GetReaction(), "REACTION_", ""), Hint: hint, Paths: []string{path + ".reaction"}}
}

// reaction is the one that an entry names.
func reaction(form *ui.Form) catalogv1.Limit_Reaction {
	return catalogv1.Limit_Reaction(form.Enum("reaction", "REACTION_", catalogv1.Limit_Reaction_value))
}

// unit is the one that an entry names.
func unit(form *ui.Form) catalogv1.Unit {
	return catalogv1.Unit(form.Enum("unit", "UNIT_", catalogv1.Unit_value))
}

// amount is an entry of what a unit counts, 0 for none.
func amount(form *ui.Form, name string, unit catalogv1.Unit) int64 {
	if unit == catalogv1.Unit_UNIT_BYTES {
		return form.Bytes(name)
	}
	return form.Number(name)
}

// amountText writes an amount as its entry has it, empty for none.
func amountText(n int64, unit catalogv1.Unit) string {
	switch {
	case n == 0:
		return ""
	case unit == catalogv1.Unit_UNIT_BYTES:
		return ui.Bytes(n)
	}
	return ui.Number(n)
}

// spanText writes a time as its entry has it, empty for none.
func spanText(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return ui.Span(d.AsDuration())
}

func rateFields(l *catalogv1.Limit, path string) []ui.Field {
	r, of := l.GetRate(), path+".rate"
	if r == nil {
		r = &catalogv1.Rate{Unit: catalogv1.Unit_UNIT_MESSAGES, Per: durationpb.New(time.Second)}
	}
	burst := ""
	if r.GetBurst() != r.GetAmount() {
		burst = amountText(r.GetBurst(), r.GetUnit())
	}
	return []ui.Field{
		{Name: "unit", Label: "Of", Kind: "select", Required: true, Value: ui.EnumEntry(r.GetUnit(), "UNIT_", ""), Options: unitOptions("MESSAGES", "BYTES", "HANDSHAKES"), Paths: []string{of + ".unit"}},
		{Name: "amount", Label: "How many", Required: true, Max: 30, Value: amountText(r.GetAmount(), r.GetUnit()), Placeholder: "100", Hint: "A number; of bytes a size such as 64 KiB.", Paths: []string{of + ".amount"}},
		{Name: "per", Label: "Per", Required: true, Max: 20, Value: spanText(r.GetPer()), Hint: "1 s to 1 h.", Paths: []string{of + ".per"}},
		{Name: "burst", Label: "At once after a pause", Max: 30, Value: burst, Hint: "Empty for as many as in that time.", Paths: []string{of + ".burst"}},
		{Name: "direction", Label: "Direction", Kind: "select", Value: ui.EnumEntry(r.GetDirection(), "DIRECTION_", "BOTH"), Options: []ui.Option{
			{Value: "", Text: "Both together"}, {Value: "FROM_CLIENT", Text: "From clients"}, {Value: "FROM_BACKEND", Text: "From backends"},
		}, Hint: "Only of messages and bytes.", Paths: []string{of + ".direction"}},
		tick("per_connection", "Each connection has it for itself", r.GetPerConnection(), "Otherwise all sessions share it. Only of messages and bytes.", of+".per_connection"),
		reactionField(l, path, "Usual: messages and bytes wait, handshakes are refused.", "PAUSE", "DROP", "CLOSE", "REFUSE"),
		{Name: "longest_pause", Label: "Longest pause", Max: 20, Value: spanText(r.GetLongestPause()), Placeholder: "10 s", Hint: "Where it waits: a session that waits longer without a frame passed ends. 1 s to 10 min.", Paths: []string{of + ".longest_pause"}},
	}
}

func setRate(form *ui.Form, was, next *catalogv1.Limit) {
	next.Reaction = reaction(form)
	of := unit(form)
	if r := next.GetReaction(); r != catalogv1.Limit_REACTION_PAUSE && (r != catalogv1.Limit_REACTION_UNSPECIFIED || of == catalogv1.Unit_UNIT_HANDSHAKES) {
		form.Leave("longest_pause", spanText(was.GetRate().GetLongestPause()))
	}
	r := &catalogv1.Rate{
		Unit: of, Amount: amount(form, "amount", of), Per: form.Span("per"), Burst: amount(form, "burst", of), PerConnection: form.Get("per_connection") == "on",
		Direction: catalogv1.Direction(form.Enum("direction", "DIRECTION_", catalogv1.Direction_value)), LongestPause: form.Span("longest_pause"),
	}
	next.Kind = &catalogv1.Limit_Rate{Rate: r}
}

func quotaFields(l *catalogv1.Limit, path string) []ui.Field {
	q, of := l.GetQuota(), path+".quota"
	if q == nil {
		q = &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_MESSAGES, Window: catalogv1.Quota_WINDOW_DAY}
	}
	return []ui.Field{
		{Name: "unit", Label: "Of", Kind: "select", Required: true, Value: ui.EnumEntry(q.GetUnit(), "UNIT_", ""), Options: unitOptions("MESSAGES", "BYTES", "SESSIONS"), Paths: []string{of + ".unit"}},
		{Name: "amount", Label: "How many", Required: true, Max: 30, Value: amountText(q.GetAmount(), q.GetUnit()), Placeholder: "5,000", Hint: "A number; of bytes a size such as 1 GiB.", Paths: []string{of + ".amount"}},
		{Name: "window", Label: "Per", Kind: "select", Required: true, Value: ui.EnumEntry(q.GetWindow(), "WINDOW_", ""), Options: unitOptions("MINUTE", "HOUR", "DAY", "WEEK", "MONTH"), Hint: "Of the calendar, in UTC.", Paths: []string{of + ".window"}},
		reactionField(l, path, "Usual: messages are left out, handshakes refused.", "DROP", "CLOSE", "REFUSE"),
		{Name: "on_outage", Label: "While the subscription service is away", Kind: "select", Value: ui.EnumEntry(q.GetOnOutage(), "OUTAGE_", "ALLOW"), Options: []ui.Option{
			{Value: "", Text: "Let pass, and charge it later"}, {Value: "REFUSE", Text: "As if it was used up"},
		}, Paths: []string{of + ".on_outage"}},
	}
}

func setQuota(form *ui.Form, _, next *catalogv1.Limit) {
	next.Reaction = reaction(form)
	of := unit(form)
	next.Kind = &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: of, Amount: amount(form, "amount", of), Window: catalogv1.Quota_Window(form.Enum("window", "WINDOW_", catalogv1.Quota_Window_value)),
		OnOutage: catalogv1.Quota_Outage(form.Enum("on_outage", "OUTAGE_", catalogv1.Quota_Outage_value)),
	}}
}

func connectionsFields(l *catalogv1.Limit, path string) []ui.Field {
	return []ui.Field{
		{Name: "most", Label: "How many at once", Required: true, Max: 12, Value: amountText(int64(l.GetConnections().GetMost()), catalogv1.Unit_UNIT_UNSPECIFIED), Placeholder: "100", Paths: []string{path + ".connections"}},
		reactionField(l, path, "Usual: the handshake is refused.", "REFUSE", "CLOSE_OLDEST"),
	}
}

func setConnections(form *ui.Form, _, next *catalogv1.Limit) {
	next.Reaction = reaction(form)
	n := form.Number("most")
	if n > 1000000 {
		form.Wrong("most", "must be at most 1,000,000")
		return
	}
	next.Kind = &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: int32(n)}}
}

func messageSizeFields(l *catalogv1.Limit, path string) []ui.Field {
	return []ui.Field{{Name: "bytes", Label: "Greatest message", Required: true, Max: 20, Value: amountText(l.GetMessageSize().GetBytes(), catalogv1.Unit_UNIT_BYTES), Placeholder: "64 KiB",
		Hint: "A greater one ends the session with 1009. The smallest of what plans, version and gateway say holds.", Paths: []string{path + ".message_size"}}}
}

func setMessageSize(form *ui.Form, _, next *catalogv1.Limit) {
	next.Kind = &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: form.Bytes("bytes")}}
}

func sessionAgeFields(l *catalogv1.Limit, path string) []ui.Field {
	return []ui.Field{{Name: "age", Label: "Greatest age", Required: true, Max: 20, Value: spanText(l.GetSessionAge().GetAge()), Placeholder: "12 h",
		Hint: "1 s to 30 d; then the session ends with 1012.", Paths: []string{path + ".session_age"}}}
}

func setSessionAge(form *ui.Form, _, next *catalogv1.Limit) {
	next.Kind = &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: form.Span("age")}}
}
