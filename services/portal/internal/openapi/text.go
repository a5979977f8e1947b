package openapi

import (
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// describeTexts makes the comments of the protos read well: without their line
// breaks, and with the names of fields as JSON has them.
func (d *document) describeTexts() error {
	for _, t := range d.Tags {
		t.Description = d.text(t.Description)
	}
	for _, ref := range d.Components.Schemas {
		d.describeSchema(ref)
	}
	for _, item := range d.Paths.Map() {
		for _, op := range item.Operations() {
			for _, p := range op.Parameters {
				if p.Value.Name != "filter" { // its fields are named as in the protos
					p.Value.Description = d.text(p.Value.Description)
				} else {
					p.Value.Description = unwrap(p.Value.Description)
				}
			}
		}
	}
	return nil
}

func (d *document) describeSchema(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil {
		return
	}
	s := ref.Value
	s.Description = d.text(s.Description)
	// The default of an enum is that it is not set; tools take it for a value.
	s.Default = nil
	d.describeSchema(s.Items)
	for _, p := range s.Properties {
		d.describeSchema(p)
	}
}

// split returns the first sentence of a text, and the rest.
func (d *document) split(text string) (first, rest string) {
	text = d.text(text)
	m := regexp.MustCompile(`(?s)^(.*?[.])(?:\s+(.*))?$`).FindStringSubmatch(text)
	if m == nil {
		return text, ""
	}
	return m[1], m[2]
}

// text is a comment as the document has it.
func (d *document) text(comment string) string {
	return regexp.MustCompile(`\{?\b[a-z]+(_[a-z]+)+\b`).ReplaceAllStringFunc(unwrap(comment), func(word string) string {
		switch word {
		case "client_id", "client_secret", "access_token", "grant_type": // words of RFC 6749
			return word
		}
		if name, ok := d.words[word]; ok {
			return name
		}
		return word
	})
}

// unwrap joins the lines of each paragraph; lines of a list stay.
func unwrap(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = regexp.MustCompile(`\n([^ -])`).ReplaceAllString(p, " $1")
	}
	return strings.TrimSpace(strings.Join(paragraphs, "\n\n"))
}
