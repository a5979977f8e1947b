package gen_test

import (
	"context"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// An error has details that programs can read: a reason that never changes, and here
// the field of the request that is wrong.
func Example_errors() {
	ctx, conn, err := signedIn(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	_, err = catalogv1.NewCatalogServiceClient(conn).CreateApi(ctx, &catalogv1.CreateApiRequest{
		Api: &catalogv1.Api{DisplayName: "Harbour", Context: "no slash"},
	})
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Println(detail.Domain, detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Println(violation.Field)
			}
		}
	}
	// Unordered output:
	// tidegate INVALID_ARGUMENT
	// api.context
}
