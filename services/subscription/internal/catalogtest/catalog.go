// Package catalogtest is a small catalog for tests: it serves RouteService, with
// kit's watch, over routes that a test puts and removes.
package catalogtest

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// Catalog serves routes.
type Catalog struct {
	backplanev1.UnsafeRouteServiceServer
	t     *testing.T
	db    *sqldb.DB
	log   *change.Log
	watch *change.Server[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]
	lis   *memnet.Listener
	conn  *grpc.ClientConn
	// Down makes GetRoute and FetchPlan unavailable.
	Down atomic.Bool
	// Reads counts the calls of GetRoute and FetchPlan; each of them calls OnRead.
	Reads  atomic.Int64
	OnRead func()
}

var _ backplanev1.RouteServiceServer = (*Catalog)(nil)

// New returns an empty catalog that is served until the test ends.
func New(t *testing.T) *Catalog {
	t.Helper()
	schema := sqldb.Schema{Service: "catalog", Parts: []sqldb.Part{change.Schema(), {Name: "catalog", Files: fstest.MapFS{
		"migrations/0001_catalog.sql": {Data: []byte(
			"-- +goose Up\nCREATE TABLE route (name TEXT PRIMARY KEY, body BYTEA NOT NULL);\n" +
				"CREATE TABLE plan (name TEXT PRIMARY KEY, body BYTEA NOT NULL);\n")},
	}}}}
	c := &Catalog{t: t, db: testdb.SQLite(t, schema), lis: memnet.Listen("catalog")}
	c.log = change.NewLog(identity.Catalog, c.db, slog.New(slog.DiscardHandler), time.Now, 0)
	c.watch = change.NewServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse](c.log, snapshot)
	srv := grpc.NewServer()
	backplanev1.RegisterRouteServiceServer(srv, c)
	ctx, cancel := context.WithCancel(context.Background())
	logDone, srvDone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(logDone)
		c.log.Run(ctx) //nolint:errcheck // it returns nil
	}()
	go func() {
		defer close(srvDone)
		srv.Serve(c.lis) //nolint:errcheck // it ends with the test
	}()
	var err error
	if c.conn, err = c.lis.Dial("subscription"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.conn.Close()
		srv.Stop()
		<-srvDone
		cancel()
		<-logDone
	})
	return c
}

// Advertise sets the addresses of the gateways, for watches that begin after it.
func (c *Catalog) Advertise(gateways ...string) { c.watch.GatewayAddresses = gateways }

// Conn returns a connection to the catalog, as the subscription service has one.
func (c *Catalog) Conn() *grpc.ClientConn { return c.conn }

// Route returns a route with the usual fields.
func Route(name, owner string, published bool, plans ...string) *backplanev1.Route {
	state := catalogv1.Version_STATE_CREATED
	if published {
		state = catalogv1.Version_STATE_PUBLISHED
	}
	return &backplanev1.Route{
		Name: name, Api: "apis/a", DisplayName: "Echo", Owner: owner, Context: "/echo", Version: "1.0.0", State: state, Plans: plans,
	}
}

// Put adds or replaces routes in one change, and returns its number.
func (c *Catalog) Put(routes ...*backplanev1.Route) uint64 {
	c.t.Helper()
	return c.change(func(tx *change.Tx) (*backplanev1.RouteEvent, error) {
		for _, r := range routes {
			r.ChangeNumber = tx.Number
			if err := put(c.t.Context(), tx, "route", r); err != nil {
				return nil, err
			}
		}
		return &backplanev1.RouteEvent{Routes: routes}, nil
	})
}

// PutPlans adds or replaces plans in one change, and returns its number.
func (c *Catalog) PutPlans(plans ...*catalogv1.Plan) uint64 {
	c.t.Helper()
	return c.change(func(tx *change.Tx) (*backplanev1.RouteEvent, error) {
		for _, p := range plans {
			if err := put(c.t.Context(), tx, "plan", p); err != nil {
				return nil, err
			}
		}
		return &backplanev1.RouteEvent{Plans: plans}, nil
	})
}

// RemovePlans removes plans in one change, and returns its number.
func (c *Catalog) RemovePlans(names ...string) uint64 {
	c.t.Helper()
	return c.change(func(tx *change.Tx) (*backplanev1.RouteEvent, error) {
		for _, name := range names {
			if _, err := tx.ExecContext(c.t.Context(), `DELETE FROM plan WHERE name = $1`, name); err != nil {
				return nil, err
			}
		}
		return &backplanev1.RouteEvent{RemovedPlans: names}, nil
	})
}

// put writes a row of a table.
func put(ctx context.Context, tx *change.Tx, table string, row interface {
	proto.Message
	GetName() string
}) error {
	body, err := proto.Marshal(row)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO `+table+` (name, body) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET body = excluded.body`, row.GetName(), body)
	return err
}

// Remove removes routes in one change, and returns its number.
func (c *Catalog) Remove(names ...string) uint64 {
	c.t.Helper()
	return c.change(func(tx *change.Tx) (*backplanev1.RouteEvent, error) {
		for _, name := range names {
			if _, err := tx.ExecContext(c.t.Context(), `DELETE FROM route WHERE name = $1`, name); err != nil {
				return nil, err
			}
		}
		return &backplanev1.RouteEvent{RemovedRoutes: names}, nil
	})
}

// NewHistory gives the catalog another history, which begins without routes.
func (c *Catalog) NewHistory() {
	c.t.Helper()
	for _, table := range []string{"route", "plan", "change"} {
		if _, err := c.db.ExecContext(c.t.Context(), "DELETE FROM "+table); err != nil {
			c.t.Fatal(err)
		}
	}
	// The same epoch with a lower head, as after an older backup is restored.
	if _, err := c.db.ExecContext(c.t.Context(), `UPDATE change_counter SET n = 0`); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Catalog) change(fn func(tx *change.Tx) (*backplanev1.RouteEvent, error)) (number uint64) {
	c.t.Helper()
	err := c.log.Write(c.t.Context(), "change the catalog", func(tx *change.Tx) (change.Record, error) {
		number = tx.Number
		event, err := fn(tx)
		return change.Record{Actor: "users/test", Action: "Test", Event: event}, err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return number
}

// GetRoute returns a route.
func (c *Catalog) GetRoute(ctx context.Context, req *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	r := &backplanev1.Route{}
	return r, c.read(ctx, "route", req.GetName(), r)
}

// FetchPlan returns a plan.
func (c *Catalog) FetchPlan(ctx context.Context, req *backplanev1.FetchPlanRequest) (*catalogv1.Plan, error) {
	p := &catalogv1.Plan{}
	return p, c.read(ctx, "plan", req.GetName(), p)
}

// read reads a row of a table into row.
func (c *Catalog) read(ctx context.Context, table, name string, row proto.Message) error {
	c.Reads.Add(1)
	if c.Down.Load() {
		return status.Error(codes.Unavailable, "the catalog is away")
	}
	var body []byte
	err := c.db.QueryRowContext(ctx, `SELECT body FROM `+table+` WHERE name = $1`, name).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return status.Error(codes.NotFound, name+" not found")
	}
	if err != nil {
		return err
	}
	if c.OnRead != nil {
		c.OnRead()
	}
	return proto.Unmarshal(body, row)
}

// WatchRoutes streams the routes.
func (c *Catalog) WatchRoutes(stream grpc.BidiStreamingServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]) error {
	return c.watch.Serve(stream)
}

func snapshot(ctx context.Context, tx *sqldb.Tx, emit func(proto.Message)) error {
	for _, table := range []string{"plan", "route"} {
		bodies, err := sqldb.All(ctx, tx, func(row sqldb.Row) (body []byte, err error) {
			err = row.Scan(&body)
			return body, err
		}, `SELECT body FROM `+table+` ORDER BY name`)
		if err != nil {
			return err
		}
		for _, body := range bodies {
			piece := &backplanev1.RouteSnapshot{}
			if table == "plan" {
				p := &catalogv1.Plan{}
				piece.Plans, err = []*catalogv1.Plan{p}, proto.Unmarshal(body, p)
			} else {
				r := &backplanev1.Route{}
				piece.Routes, err = []*backplanev1.Route{r}, proto.Unmarshal(body, r)
			}
			if err != nil {
				return err
			}
			emit(piece)
		}
	}
	return nil
}
