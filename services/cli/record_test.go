package cli

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// records has the record of one refusal, says of another that it was left out, and knows
// no more.
type records struct {
	usagev1.UnimplementedUsageServiceServer
	asked chan string // filters of lists
}

var refusedOne = &usagev1.SessionRecord{
	Name: "sessionRecords/kept", Session: "gateways/g/sessions/kept", EndedBy: usagev1.SessionRecord_PARTY_GATEWAY,
	EndReason: usagev1.EndReason_END_REASON_REFUSED, Status: 401, Code: "CREDENTIAL_INVALID", Detail: "the credential is not valid: it has expired",
	Host: "api.example", Path: "/echo/1.0.0", UserAgent: "curl/8", LeftOut: 4,
}

const leftOutText = "of the hour from 2026-11-21T09:00:00Z, these records were left out, as there were more than are kept: 4021 CREDENTIAL_INVALID"

func (*records) GetSessionRecord(_ context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	switch req.GetName() {
	case refusedOne.GetName():
		return refusedOne, nil
	case "sessionRecords/left":
		st, err := status.New(codes.NotFound, leftOutText).WithDetails(&errdetails.ErrorInfo{Reason: "RECORD_LEFT_OUT", Domain: "tidegate"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	return nil, status.Error(codes.NotFound, "not found")
}

func (r *records) ListSessionRecords(_ context.Context, req *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	r.asked <- req.GetFilter()
	return &usagev1.ListSessionRecordsResponse{SessionRecords: []*usagev1.SessionRecord{refusedOne}}, nil
}

// TestRefusalsAreExplained: a record says what was refused and why, one that was left out
// what is known of its hour, and a list can be of refusals alone.
func TestRefusalsAreExplained(t *testing.T) {
	t.Parallel()
	fake := &records{asked: make(chan string, 1)}
	c := newFakeServer(t, func(srv *grpc.Server) { usagev1.RegisterUsageServiceServer(srv, fake) }).signIn(t)
	for ref, want := range map[string]struct {
		out, err string
		code     int
	}{
		"kept":  {"CREDENTIAL_INVALID\nDetail the credential is not valid: it has expired\nLeft out 4 later refusals of this API with this code", "", 0},
		"left":  {"", leftOutText, 1},
		"other": {"", "there is no record \"other\" that you may see", 1},
	} {
		stdout, stderr, code := c.run(t, "record", "get", ref)
		lines := strings.Split(stdout, "\n")
		for i := range lines {
			lines[i] = strings.Join(strings.Fields(lines[i]), " ")
		}
		if code != want.code || !strings.Contains(strings.Join(lines, "\n"), want.out) || !strings.Contains(stderr, want.err) {
			t.Errorf("record get %s = %q, %q, %d, want %q, %q, %d", ref, stdout, stderr, code, want.out, want.err, want.code)
		}
	}
	stdout, stderr, code := c.run(t, "record", "list", "--refused")
	if asked := <-fake.asked; code != 0 || asked != `refused = "true"` || !strings.Contains(stdout, "CREDENTIAL_INVALID") || !strings.Contains(stdout, "401") {
		t.Errorf("record list --refused = %q, %q, %d, and the filter is %s", stdout, stderr, code, asked)
	}
}
