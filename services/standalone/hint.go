package standalone

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// hintKeeps is how long the page of signing in goes on to say where the first password is
// without another look: a look costs as much as a sign-in.
const hintKeeps = time.Minute

// hint says where the first administrator's password is, while it is good. It is safe for
// concurrent use.
type hint struct {
	path string
	good func(context.Context) (bool, error)
	log  *slog.Logger

	mu     sync.Mutex
	looked time.Time
	gone   bool // for good: a changed password does not come back
}

// text returns the path of the password, or "".
func (h *hint) text(ctx context.Context) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.gone && time.Since(h.looked) > hintKeeps {
		good, err := h.good(ctx)
		if err != nil {
			h.log.Warn("whether the first password is still good is not known", "error", err)
			return ""
		}
		h.looked, h.gone = time.Now(), !good
	}
	if h.gone {
		return ""
	}
	return h.path
}
