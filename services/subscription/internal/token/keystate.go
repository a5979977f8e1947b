package token

import (
	"context"
	"time"

	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// KeyState is what a signing key does.
type KeyState struct {
	store.SigningKey
	// RetiresAt is when it stops to sign, because a newer key begins, and DropsAt when it
	// leaves the JWK set; zero while there is no newer key.
	RetiresAt, DropsAt time.Time
	// Signs says that it signs now, Published that it does not yet.
	Signs, Published bool
}

// States reads the keys and returns what each does, oldest first.
func (k *Keys) States(ctx context.Context) ([]KeyState, error) {
	rows, err := k.store.SigningKeys(ctx, k.rotate.Of)
	if err != nil {
		return nil, err
	}
	now := k.now()
	states := make([]KeyState, len(rows))
	signing := 0
	for i, row := range rows {
		states[i] = KeyState{SigningKey: row}
		if !row.SignsAt.After(now) {
			signing = i
		}
		if i+1 < len(rows) {
			states[i].RetiresAt, states[i].DropsAt = rows[i+1].SignsAt, dropTime(row, rows[i+1])
		}
		for _, later := range rows[i+1:] { // one that was asked for may sign before one that was due
			if later.SignsAt.Before(states[i].RetiresAt) {
				states[i].RetiresAt = later.SignsAt
			}
		}
	}
	for i := range states {
		states[i].Signs, states[i].Published = i == signing, i > signing
	}
	return states, nil
}
