package handshake

import (
	"net/http"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/bound"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

// requests bounds the plain requests in progress, which may take any length of time, apart from
// handshakes: of all, of each version, and at it of each application, or each address where
// there is no credential. Each may have half of what it is a part of, so that nobody keeps the
// others out.
type requests struct {
	all      *bound.ByKey[struct{}]
	versions *bound.ByKey[string]
	clients  *bound.ByKey[requester]
}

// requester is whose plain requests are counted together at a version.
type requester struct{ version, client string }

// newRequests returns requests with nothing in progress, of which there may be so many in all;
// 0 is any number.
func newRequests(most int) *requests {
	perVersion, perClient := 0, 0
	if most > 0 {
		perVersion, perClient = max(most/2, 1), max(most/4, 1)
	}
	return &requests{all: bound.NewByKey[struct{}](most), versions: bound.NewByKey[string](perVersion), clients: bound.NewByKey[requester](perClient)}
}

// enter counts a plain request, until leave is called.
func (q *requests) enter(a *attempt) (leave func(), err error) {
	version := a.match.Route.Name
	of, detail := requester{version: version}, "the application has too many requests of this version in progress"
	if a.grant != nil {
		of.client = a.grant.Application
	} else {
		of.client, detail = clientaddr.Network(a.Remote.Addr()).String(), "the address has too many requests of this version in progress"
	}
	// A trusted proxy's own address stands for many clients.
	counted := a.grant != nil || !a.Proxy
	if counted && !q.clients.Take(of) {
		return nil, &problem.Problem{Status: http.StatusTooManyRequests, Code: problem.RequestsFull, Detail: detail, Header: []head.Field{problem.RetryAfter(time.Second)}}
	}
	giveClient := func() {
		if counted {
			q.clients.Give(of)
		}
	}
	if !q.versions.Take(version) {
		giveClient()
		return nil, unavailable(problem.VersionBusy, "too many requests of this version are in progress", time.Second, nil)
	}
	if !q.all.Take(struct{}{}) {
		q.versions.Give(version)
		giveClient()
		return nil, unavailable(problem.Busy, "too many requests are in progress", time.Second, nil)
	}
	return func() {
		q.all.Give(struct{}{})
		q.versions.Give(version)
		giveClient()
	}, nil
}
