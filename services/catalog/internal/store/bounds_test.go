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
				_, err := b.CreateAPI(t.Context(), anew, root, API{DisplayName: fmt.Sprint("api ", i), Context: fmt.Sprint("/a", i), Owner: "ann"})
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
		another, err := b.CreateAPI(t.Context(), anew, root, API{DisplayName: "another", Context: "/b", Owner: "bob"})
		must(t, err)
		give := func(v identity.Viewer) error {
			_, err := b.UpdateAPI(t.Context(), v, another.ID, func(old API) (API, error) {
				old.Owner = "ann"
				return old, nil
			})
			return err
		}
		refused(t, "UpdateAPI that gives one more", give(bob), codes.ResourceExhausted, "the new owner has 3 APIs, and may be given none from half of 3")
		must(t, give(root))
	})
}

// APIs given by others take no more than half of what a user may have, so that nobody
// fills another's room; administrators give what they like.
func TestAPIsGivenToAUserAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.BoundAPIs(4)
		give := func(v identity.Viewer, a API, to string) error {
			_, err := b.UpdateAPI(t.Context(), v, a.ID, func(old API) (API, error) {
				old.Owner = to
				return old, nil
			})
			return err
		}
		var all []API
		for i := range 4 {
			all = append(all, b.api("ann", fmt.Sprint("api ", i), fmt.Sprint("/a", i)))
		}
		must(t, give(ann, all[0], "bob"))
		must(t, give(ann, all[1], "bob"))
		refused(t, "one more given", give(ann, all[2], "bob"), codes.ResourceExhausted,
			"the new owner has 2 APIs, and may be given none from half of 4")
		must(t, give(ann, all[2], "ann"))
		must(t, give(root, all[2], "bob"))
		must(t, give(root, all[3], "bob"))
		_, err := b.CreateAPI(t.Context(), anew, identity.Viewer{User: "bob"}, API{DisplayName: "full", Context: "/full", Owner: "bob"})
		refused(t, "one more made", err, codes.ResourceExhausted, "you have 4 APIs")
	})
}
