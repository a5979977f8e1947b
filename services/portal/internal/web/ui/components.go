package ui

// What the components of templates take, where that is not a Field or a Form.

// Copy is a value with a button that copies it.
type Copy struct {
	// ID is unique on the page.
	ID string
	// What is copied, such as "the address".
	What string
	// Value is the text.
	Value string
	// Wrap shows all of it, on several lines where it is long.
	Wrap bool
}

// Empty says what there is when there is nothing.
type Empty struct {
	Title, Text string
	// Action leads on, or is nil. Primary says that it is what most will do.
	Action  *Link
	Primary bool
}

// More leads to the rest of a list.
type More struct {
	// To is the page's address with the token of the next page, or empty at the end.
	To string
	// Nonce is that of the frame.
	Nonce string
}

// More returns what the component "more" takes.
func (f Frame) More(to string) More { return More{To: to, Nonce: f.Nonce} }

// Confirm asks before something ends.
type Confirm struct {
	// Text has what happens, in sentences.
	Text []string
	// Sessions is how many live sessions end with it, or negative where that is not
	// known.
	Sessions int64
	// Button does it, at To. Keep says what going Back means; empty is "Cancel".
	Button, To, Back, Keep string
	// Fields are sent with it.
	Fields []*Field
}

// Next returns the address of the next page of a list: this page's own with the token,
// or empty without one.
func (r *Request) Next(token string) string {
	if token == "" {
		return ""
	}
	q := r.URL.Query()
	q.Set("page", token)
	return r.URL.Path + "?" + q.Encode()
}
