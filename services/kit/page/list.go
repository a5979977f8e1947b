package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"iter"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Page is the page that a list request asks for. K is the key that the list is
// ordered by. Page tokens contain it as JSON, which anybody can read.
type Page[K any] struct {
	// Size is how many items it has at most.
	Size int
	// After is the key of the item before it, zero for the first page.
	After K

	scope string
}

// ListRequest is what the requests of all list methods have in common (AIP-158).
type ListRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// New reads the page that a request asks for. Its error is a fault. A token is
// valid only for the request that it came from; only page size and token may
// differ.
func New[K any](req ListRequest) (Page[K], error) {
	size, err := sizeOf(req.GetPageSize())
	if err != nil {
		return Page[K]{}, err
	}
	p := Page[K]{Size: size, scope: scopeOf(req)}
	p.After, err = readToken[K](req.GetPageToken(), p.scope)
	return p, err
}

// Sizes of a page.
const (
	defaultSize = 50
	maxSize     = 1000
)

// sizeOf returns how many items a page has: defaultSize when asked for 0, at most
// maxSize.
func sizeOf(asked int32) (int, error) {
	switch {
	case asked < 0:
		return 0, fault.Invalid("page_size", "must not be negative")
	case asked == 0:
		return defaultSize, nil
	}
	return min(int(asked), maxSize), nil
}

// scopeOf returns what a request's page tokens are bound to: its type and all of
// its fields, except those that choose the page and the one that allows a partial
// answer (AIP-217).
func scopeOf(req proto.Message) string {
	m := proto.Clone(req).ProtoReflect()
	for _, name := range []protoreflect.Name{"page_size", "page_token", "return_partial_success"} {
		if fd := m.Descriptor().Fields().ByName(name); fd != nil {
			m.Clear(fd)
		}
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		panic(err) // a request that was received can be encoded
	}
	sum := sha256.Sum256(append([]byte(m.Descriptor().FullName()+" "), text...))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// token is the content of a page token.
type token struct {
	Scope string          `json:"s"`
	Key   json.RawMessage `json:"k"`
}

// Token returns the token of the page that begins after the item with this key.
func (p Page[K]) Token(key K) string {
	text, err := json.Marshal(key)
	if err == nil {
		text, err = json.Marshal(token{Scope: p.scope, Key: text})
	}
	if err != nil {
		panic(err) // keys are numbers and texts
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// maxToken is the longest page token that is read.
const maxToken = 4 << 10

// readToken returns the key in a page token, the zero key for an empty one.
func readToken[K any](text, scope string) (key K, err error) {
	if text == "" {
		return key, nil
	}
	var t token
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) > maxToken || json.Unmarshal(raw, &t) != nil || t.Scope == "" {
		return key, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	if t.Scope != scope {
		return key, fault.Invalid("page_token", "belongs to another list or filter")
	}
	d := json.NewDecoder(strings.NewReader(string(t.Key)))
	d.DisallowUnknownFields()
	// No key in a database has a NUL.
	if d.Decode(&key) != nil || bytes.Contains(t.Key, []byte(`\u0000`)) {
		return key, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return key, nil
}

// maxBytes is roughly the largest total size of a page's items: a message may have
// 4 MiB.
const maxBytes = 2 << 20

// Collect converts rows, which follow p.After, until the page is full. It also
// returns the token of the next page, if there is one. A page of large items ends
// before it has Size items.
func Collect[Row, K any, M proto.Message](p Page[K], rows iter.Seq2[Row, error], key func(Row) K, convert func(Row) M) ([]M, string, error) {
	var all []M
	var last K
	size := 0
	// A row after the last one that fits shows that another page follows.
	for row, err := range rows {
		if err != nil {
			return nil, "", err
		}
		m := convert(row)
		size += proto.Size(m)
		if len(all) == p.Size || len(all) > 0 && size > maxBytes {
			return all, p.Token(last), nil
		}
		all, last = append(all, m), key(row)
	}
	return all, "", nil
}
