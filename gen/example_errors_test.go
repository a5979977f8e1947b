package gen_test

import (
	"context"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// An error has a code, and details that programs can read: here, which field of the
// request is wrong.
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
	problem := status.Convert(err)
	fmt.Println(problem.Code())
	for _, detail := range problem.Details() {
		if request, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range request.FieldViolations {
				fmt.Println(violation.Field)
			}
		}
	}
	// Output:
	// InvalidArgument
	// api.context
}
