package store

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// Of many APIs that one user makes at once, as many are made as the user may have;
// others have their own bound.
func TestAPIsOfAUserAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.BoundAPIs(3)
		errs := make(chan error, 8)
		for i := range 8 {
			go func() {
				_, err := b.CreateAPI(t.Context(), root, API{DisplayName: fmt.Sprint("api ", i), Context: fmt.Sprint("/a", i), Owner: "ann"})
				errs <- err
			}()
		}
		made := 0
		for range 8 {
			err := <-errs
			if err == nil {
				made++
			} else if !fault.Is(err, codes.ResourceExhausted) {
				t.Errorf("CreateAPI = %v, want RESOURCE_EXHAUSTED", err)
			}
		}
		if made != 3 {
			t.Errorf("%d APIs were made, want 3", made)
		}
		another, err := b.CreateAPI(t.Context(), root, API{DisplayName: "another", Context: "/b", Owner: "bob"})
		must(t, err)
		give := func(v identity.Viewer) error {
			_, err := b.UpdateAPI(t.Context(), v, another.ID, func(old API) (API, error) {
				old.Owner = "ann"
				return old, nil
			})
			return err
		}
		refused(t, "UpdateAPI that gives one more", give(bob), codes.ResourceExhausted, "the owner has 3 APIs, as many as a user may have")
		must(t, give(root))
	})
}
