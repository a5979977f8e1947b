package portal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidegatehq/tidegate/gen"
)

// forwarded are the services that the portal passes on, and whether REST has them.
func forwarded() map[string]bool {
	return map[string]bool{
		"tidegate.catalog.v1.CatalogService":           true,
		"tidegate.catalog.v1.DenyRuleService":          true,
		"tidegate.identity.v1.SignInService":           true,
		"tidegate.identity.v1.UserService":             true,
		"tidegate.identity.v1.SecurityEventService":    true,
		"tidegate.subscription.v1.ApplicationService":  true,
		"tidegate.subscription.v1.APIKeyService":       true,
		"tidegate.subscription.v1.SubscriptionService": true,
		"tidegate.subscription.v1.TokenService":        true,
		"tidegate.usage.v1.UsageService":               true,
		"tidegate.usage.v1.QuotaService":               true,
		"tidegate.oauth2.v1.OAuth2Service":             false,
		"tidegate.oauth2.v1.SigningKeyService":         true,
	}
}

// served are the services that the portal answers for, and whether REST has them.
func served() map[string]bool {
	all := forwarded()
	all["tidegate.change.v1.ChangeService"] = true
	all["tidegate.gateway.v1.SessionService"] = true
	all["tidegate.gateway.v1.EndpointService"] = true
	all["tidegate.subscription.v1.RevocationService"] = true
	return all
}

// shape is what one method looks like on both sides of the portal.
type shape struct {
	RPC    string          `json:"rpc"`
	Sent   string          `json:"sent"`
	Body   json.RawMessage `json:"body,omitempty"`
	Called json.RawMessage `json:"called"`
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer"`
}

// TestShapes sends one request to every method that has REST, with every field
// filled, and compares what the service got and what came back with testdata.
// UPDATE_GOLDEN=1 writes testdata.
func TestShapes(t *testing.T) {
	s := start(t)
	for name, rest := range forwarded() {
		if !rest {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var shapes []shape
			methods := service(t, name).Methods()
			for i := range methods.Len() {
				shapes = append(shapes, s.shape(t, methods.Get(i)))
			}
			checkGolden(t, filepath.Join("testdata", "rest", name+".json"), shapes)
		})
	}
}

// shape makes one request.
func (s *site) shape(t *testing.T, m protoreflect.MethodDescriptor) shape {
	t.Helper()
	full := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	method, path, body := request(t, m)
	output := filled(t, m.Output(), false).Interface()
	s.on(full, func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		if method == http.MethodGet {
			return output, grpc.SetHeader(ctx, metadata.Pairs("secret", "x"))
		}
		return output, grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, "42", "secret", "x"))
	})
	headers := []string{"Authorization", "Bearer token"}
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	got := s.do(t, method, path, body, headers...)
	c, _ := s.last()
	if c.method != full {
		t.Fatalf("%s %s called %s, want %s; answer %d %s", method, path, c.method, full, got.status, got.body)
	}
	change := "42"
	if method == http.MethodGet {
		change = ""
	}
	if got.header.Get("Tidegate-Change") != change || got.header.Get("Secret") != "" || got.header.Get("Grpc-Metadata-Secret") != "" {
		t.Errorf("%s %s: header = %v, want Tidegate-Change %q and no secret", method, path, got.header, change)
	}
	return shape{
		RPC: full, Sent: method + " " + path, Body: json.RawMessage(body),
		Called: toJSON(t, c.request), Status: got.status, Answer: json.RawMessage(got.body),
	}
}

// request is a request to a method with all that can be given.
func request(t *testing.T, m protoreflect.MethodDescriptor) (method, path, body string) {
	t.Helper()
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		t.Fatalf("%s has no HTTP rule", m.FullName())
	}
	for verb, template := range map[string]string{
		http.MethodGet: rule.GetGet(), http.MethodPost: rule.GetPost(), http.MethodPatch: rule.GetPatch(), http.MethodDelete: rule.GetDelete(),
	} {
		if template != "" {
			method, path = verb, template
		}
	}
	taken := []string{rule.GetBody()}
	for _, v := range regexp.MustCompile(`\{([a-z_]+)[.=}]`).FindAllStringSubmatch(path, -1) {
		taken = append(taken, v[1])
	}
	path = regexp.MustCompile(`\{[a-z_.]+=([^}]*)\}`).ReplaceAllString(path, "$1")
	path = strings.ReplaceAll(path, "*", "x1")
	input := filled(t, m.Input(), true)
	fields := m.Input().Fields()
	switch rule.GetBody() {
	case "":
	case "*":
		for _, name := range taken[1:] {
			input.Clear(fields.ByName(protoreflect.Name(name)))
		}
		return method, path, string(toJSON(t, input.Interface()))
	default:
		body = string(toJSON(t, input.Get(fields.ByName(protoreflect.Name(rule.GetBody()))).Message().Interface()))
	}
	var query []string
	for i := range fields.Len() {
		fd := fields.Get(i)
		if text := parameter(fd, input.Get(fd)); text != "" && !slices.Contains(taken, string(fd.Name())) {
			query = append(query, fd.JSONName()+"="+text)
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return method, path, body
}

// parameter is the value of a field as a query has it, of a list its first; "" for a
// message but a duration.
func parameter(fd protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch {
	case fd.IsList():
		return value.List().Get(0).String()
	case fd.Kind() != protoreflect.MessageKind:
		return fmt.Sprint(value.Interface())
	}
	if d, ok := value.Message().Interface().(*durationpb.Duration); ok {
		return fmt.Sprintf("%ds", d.GetSeconds())
	}
	return ""
}

// filled returns a message of which every field has a value; of a request's
// without what only the server sets.
func filled(t *testing.T, desc protoreflect.MessageDescriptor, asRequest bool) protoreflect.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName())
	if err != nil {
		t.Fatal(err)
	}
	m := mt.New()
	fill(m, asRequest)
	return m
}

func fill(m protoreflect.Message, asRequest bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if asRequest && outputOnly(fd) {
			continue
		}
		if fd.IsMap() {
			key := protoreflect.ValueOfString(string(fd.Name())).MapKey()
			m.Mutable(fd).Map().Set(key, sample(protoreflect.Value{}, fd.MapValue(), asRequest))
			continue
		}
		if !fd.IsList() {
			m.Set(fd, sample(m.NewField(fd), fd, asRequest))
			continue
		}
		list := m.Mutable(fd).List()
		list.Append(sample(list.NewElement(), fd, asRequest))
	}
}

func outputOnly(fd protoreflect.FieldDescriptor) bool {
	behaviors, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	for _, b := range behaviors {
		if b == annotations.FieldBehavior_OUTPUT_ONLY || b == annotations.FieldBehavior_IDENTIFIER {
			return true
		}
	}
	return false
}

// sample is a value for a field.
func sample(empty protoreflect.Value, fd protoreflect.FieldDescriptor, asRequest bool) protoreflect.Value {
	n := int64(fd.Number())
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(strings.ReplaceAll(string(fd.Name()), "_", "-"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n << 40)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 40)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.MessageKind:
		switch empty.Message().Interface().(type) {
		case *timestamppb.Timestamp:
			return protoreflect.ValueOfMessage((&timestamppb.Timestamp{Seconds: 1800000000, Nanos: 5000000}).ProtoReflect())
		case *durationpb.Duration:
			return protoreflect.ValueOfMessage((&durationpb.Duration{Seconds: 90}).ProtoReflect())
		case *fieldmaskpb.FieldMask:
			return empty
		}
		fill(empty.Message(), asRequest)
		return empty
	default:
		return fd.Default()
	}
}

func service(t *testing.T, name string) protoreflect.ServiceDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatal(err)
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		t.Fatalf("%s is no service", name)
	}
	return sd
}

func toJSON(t *testing.T, m proto.Message) json.RawMessage {
	t.Helper()
	out, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkGolden compares v as JSON with a file.
func checkGolden(t *testing.T, file string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs; UPDATE_GOLDEN=1 go test writes it anew. Got:\n%s", file, got.Bytes())
	}
}
