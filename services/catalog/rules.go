package catalog

import (
	"github.com/tidegatehq/tidegate/services/catalog/internal/api"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// Rules says who may call which method of the service. What is made from them, such
// as tests of every method and role, cannot forget a method.
func Rules() identity.Rules { return api.Rules() }
