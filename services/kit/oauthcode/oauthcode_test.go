package oauthcode_test

import (
	"errors"
	"testing"

	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
)

func TestCodesTravelAsReasons(t *testing.T) {
	err := oauthcode.With(oauthcode.InvalidClient, fault.Unauthenticated("who?"))
	if got := fault.Reason(err); got != "INVALID_CLIENT" {
		t.Errorf("reason = %q, want INVALID_CLIENT", got)
	}
	for name, tt := range map[string]struct {
		err  error
		want oauthcode.Code
	}{
		"a fault":                    {err, oauthcode.InvalidClient},
		"what a call returns":        {status.Convert(err).Err(), oauthcode.InvalidClient},
		"another reason":             {fault.WithReason(fault.Denied("no"), "TOKEN_EXPIRED"), ""},
		"a code of the portal's own": {fault.WithReason(fault.Denied("no"), "SERVER_ERROR"), ""},
		"no reason":                  {fault.Denied("no"), ""},
		"no fault":                   {errors.New("no"), ""},
	} {
		if got := oauthcode.Of(tt.err); got != tt.want {
			t.Errorf("Of(%s) = %q, want %q", name, got, tt.want)
		}
	}
}
