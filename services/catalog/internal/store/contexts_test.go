package store

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// What another owner has is around a context in any way that would make one address
// belong to both.
func TestAddressesBelowAContextAreItsOwners(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.api("ann", "Orders", "/shop/Orders")
		for _, c := range []struct{ context, message string }{
			{"/shop/Orders", `api.context: "/shop/Orders" is taken`},
			{"/SHOP/orders", `api.context: "/SHOP/orders" is taken`},
			{"/shop/Orders/2.0.0", `api.context: the addresses below "/shop/Orders" are another owner's`},
			{"/Shop/orders/2.0.0/deep", `api.context: the addresses below "/Shop/orders" are another owner's`},
			{"/shop/Orders/_internal", `api.context: the addresses below "/shop/Orders" are another owner's`},
			{"/shop", `api.context: another owner's context is below "/shop"`},
			{"/SHOP", `api.context: another owner's context is below "/SHOP"`},
		} {
			_, err := b.CreateAPI(ctx, anew, bob, API{DisplayName: "Bob's", Context: c.context, Owner: "bob"})
			refused(t, "CreateAPI "+c.context, err, codes.AlreadyExists, c.message)
		}
		for _, context := range []string{"/shop/Orders2", "/shop/Orders-x/2.0.0", "/sho", "/shop/Order"} {
			_, err := b.CreateAPI(ctx, anew, bob, API{DisplayName: context, Context: context, Owner: "bob"})
			must(t, err)
		}
	})
}

// An owner arranges what is the owner's, and an administrator everything.
func TestContextsOfOneOwnerAreArrangedByIt(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		for _, context := range []string{"/team/chat", "/team", "/team/chat/rooms"} {
			_, err := b.CreateAPI(ctx, anew, ann, API{DisplayName: context, Context: context, Owner: "ann"})
			must(t, err)
		}
		guest, err := b.CreateAPI(ctx, anew, root, API{DisplayName: "Guest", Context: "/team/guest", Owner: "bob"})
		must(t, err)
		move := func(context, name string) error {
			_, err := b.UpdateAPI(ctx, bob, guest.ID, func(old API) (API, error) {
				old.Context, old.DisplayName = context, name
				return old, nil
			})
			return err
		}
		must(t, move("/team/guest", "Renamed where it is"))
		refused(t, "UpdateAPI", move("/team/guest2", "Guest"), codes.AlreadyExists, `the addresses below "/team" are another owner's`)
		must(t, move("/guest", "Guest"))
		refused(t, "UpdateAPI", move("/team/guest", "Guest"), codes.AlreadyExists, `the addresses below "/team" are another owner's`)
		// No version string starts with "_" or is longer than 30 characters.
		for _, below := range []string{"/hidden/_x", "/hidden/a23456789012345678901234567890x"} {
			_, err := b.CreateAPI(ctx, anew, ann, API{DisplayName: below, Context: below, Owner: "ann"})
			must(t, err)
		}
		must(t, move("/hidden", "Guest"))
	})
}

// Of two owners who want addresses of one another at the same time, one gets them.
func TestContextsThatMeetAreDecidedOneByOne(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		type made struct {
			owner string
			err   error
		}
		const callers = 8
		results := make(chan made, callers)
		start := make(chan struct{})
		for i := range callers {
			who, context := ann, "/race"
			if i%2 == 1 {
				who, context = bob, "/race/1.0.0"
			}
			go func() {
				<-start
				_, err := b.CreateAPI(t.Context(), anew, who, API{DisplayName: fmt.Sprint("Race ", i), Context: context, Owner: who.User})
				results <- made{who.User, err}
			}()
		}
		close(start)
		var won []string
		for range callers {
			if r := <-results; r.err == nil {
				won = append(won, r.owner)
			} else if !fault.Is(r.err, codes.AlreadyExists) {
				t.Errorf("CreateAPI = %v, want ALREADY_EXISTS", r.err)
			}
		}
		if len(won) != 1 {
			t.Errorf("%v have got addresses of one another, want one", won)
		}
	})
}
