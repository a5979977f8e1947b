package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/quote"
)

const (
	// defaultServer is where the standalone server listens.
	defaultServer = "localhost:9090"
	// defaultCA is where the standalone server keeps its authority.
	defaultCA = "tidegate-data/ca.pem"
	// fresh is how long an access token must still be valid to be used.
	fresh = 30 * time.Second
)

// client calls one server in the name of the user who is signed in there.
type client struct {
	address string
	trust   trust
	store   *store
	conn    *grpc.ClientConn
	// usual is the server of commands that name none, others whether more servers than
	// this one are known.
	usual  string
	others bool

	catalog  catalogv1.CatalogServiceClient
	deny     catalogv1.DenyRuleServiceClient
	signIns  identityv1.SignInServiceClient
	users    identityv1.UserServiceClient
	security identityv1.SecurityEventServiceClient
	apps     subscriptionv1.ApplicationServiceClient
	apiKeys  subscriptionv1.APIKeyServiceClient
	subs     subscriptionv1.SubscriptionServiceClient
	tokens   subscriptionv1.TokenServiceClient

	revocations subscriptionv1.RevocationServiceClient

	oauth    oauth2v1.OAuth2ServiceClient
	keys     oauth2v1.SigningKeyServiceClient
	usage    usagev1.UsageServiceClient
	quotas   usagev1.QuotaServiceClient
	sessions gatewayv1.SessionServiceClient
	changes  changev1.ChangeServiceClient

	mu      sync.Mutex
	lost    error             // why the connection failed last
	written map[string]string // by service, the name of the last change that was made
}

// dial returns the client of the server; it connects with the first call.
func (s *shell) dial() (*client, error) {
	if s.client != nil {
		return s.client, nil
	}
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	known, err := st.read()
	if err != nil {
		return nil, err
	}
	usual := cmp.Or(known.Current, defaultServer)
	c := &client{address: cmp.Or(s.global.Server, usual), usual: usual, store: st, written: map[string]string{}}
	if err := netaddr.Check(c.address); err != nil {
		return nil, usagef("--server: %v, such as %s", err, defaultServer)
	}
	for address := range known.Servers {
		c.others = c.others || address != c.address
	}
	if c.trust, err = s.trust(known.server(c.address)); err != nil {
		return nil, err
	}
	if c.conn, err = c.connect(); err != nil {
		return nil, err
	}
	c.catalog = catalogv1.NewCatalogServiceClient(c.conn)
	c.deny = catalogv1.NewDenyRuleServiceClient(c.conn)
	c.signIns = identityv1.NewSignInServiceClient(c.conn)
	c.users = identityv1.NewUserServiceClient(c.conn)
	c.security = identityv1.NewSecurityEventServiceClient(c.conn)
	c.apps = subscriptionv1.NewApplicationServiceClient(c.conn)
	c.apiKeys = subscriptionv1.NewAPIKeyServiceClient(c.conn)
	c.subs = subscriptionv1.NewSubscriptionServiceClient(c.conn)
	c.revocations = subscriptionv1.NewRevocationServiceClient(c.conn)
	c.tokens = subscriptionv1.NewTokenServiceClient(c.conn)
	c.oauth = oauth2v1.NewOAuth2ServiceClient(c.conn)
	c.keys = oauth2v1.NewSigningKeyServiceClient(c.conn)
	c.usage = usagev1.NewUsageServiceClient(c.conn)
	c.quotas = usagev1.NewQuotaServiceClient(c.conn)
	c.sessions = gatewayv1.NewSessionServiceClient(c.conn)
	c.changes = changev1.NewChangeServiceClient(c.conn)
	s.client = c
	return c, nil
}

// trust is whose certificates a client trusts.
type trust struct {
	// file is the authorities' file, "" for the system's authorities.
	file string
	// found says that nobody gave the file: it is that of the folder. kept says that it was
	// given at the sign-in.
	found, kept bool
	roots       *x509.CertPool
}

// unsigned says why a certificate is not trusted that none of the authorities has signed.
func (t trust) unsigned() string {
	switch {
	case t.file == "":
		return "no authority that this machine trusts has signed it"
	case t.kept:
		return "the authority in " + t.file + ", which was given at the sign-in, has not signed it"
	}
	return "the authority in " + t.file + " has not signed it"
}

// trust returns whom to trust. What was given beats what is found: --ca, then what was
// given at the sign-in. After that come the data folder in this one, and the one that
// was found at the sign-in.
func (s *shell) trust(known *serverState) (trust, error) {
	flag, t := "--ca", trust{file: s.global.CA}
	if t.file == "" && !known.CAFound && (known.CA != "" || known.SignIn != nil) {
		if t.file, t.kept = known.CA, true; t.file == "" {
			return t, nil
		}
		flag = "the authority that was given at the sign-in (another with --ca)"
	}
	if t.file == "" {
		t.found = true
		for _, path := range []string{defaultCA, known.CA} {
			if _, err := os.Stat(path); path != "" && !errors.Is(err, fs.ErrNotExist) {
				t.file = path
				break
			}
		}
	}
	if t.file == "" {
		return trust{}, nil
	}
	text, err := os.ReadFile(t.file)
	if err != nil {
		return t, fmt.Errorf("%s: %w", flag, err)
	}
	t.roots = x509.NewCertPool()
	if !t.roots.AppendCertsFromPEM(text) {
		return t, fmt.Errorf("%s: %s has no certificate in it", flag, t.file)
	}
	if t.file, err = filepath.Abs(t.file); err != nil {
		return t, fmt.Errorf("%s: %w", flag, err)
	}
	return t, nil
}

// tls returns the configuration of TLS connections to this installation.
func (c *client) tls() *tls.Config {
	cfg := certs.Modern()
	cfg.RootCAs = c.trust.roots
	return cfg
}

// http returns a client for the portal.
func (c *client) http() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c.tls(), ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

func (c *client) connect() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+c.address,
		grpc.WithTransportCredentials(&noting{TransportCredentials: credentials.NewTLS(c.tls()), note: c.noteLost}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			c.noteLost(err)
			return conn, err
		}),
		grpc.WithUnaryInterceptor(c.intercept))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.address, err)
	}
	return conn, nil
}

// noteLost keeps why the connection failed, because gRPC wraps it in many words.
func (c *client) noteLost(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lost = err
	}
}

// noting notes how each TLS handshake ended.
type noting struct {
	credentials.TransportCredentials
	note func(error)
}

// ClientHandshake does the handshake and notes its error.
func (n *noting) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := n.TransportCredentials.ClientHandshake(ctx, authority, conn)
	n.note(err)
	return conn, info, err
}

// Clone returns a copy.
func (n *noting) Clone() credentials.TransportCredentials {
	return &noting{TransportCredentials: n.TransportCredentials.Clone(), note: n.note}
}

// open reports whether a method needs no sign-in.
func open(method string) bool {
	switch method {
	case identityv1.SignInService_SignIn_FullMethodName,
		identityv1.SignInService_RefreshSignIn_FullMethodName,
		identityv1.SignInService_SignOut_FullMethodName,
		identityv1.UserService_SignUp_FullMethodName,
		identityv1.UserService_GetSignUpPolicy_FullMethodName,
		oauth2v1.OAuth2Service_GetJsonWebKeySet_FullMethodName:
		return true
	}
	return false
}

// intercept adds the sign-in's token to a call and notes the change that it made. A
// token that the server no longer accepts is renewed once. A call that creates something is
// given a request_id: when it is sent again because its answer was lost, it makes nothing
// more.
func (c *client) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if open(method) {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	identified := identify(req)
	var stale string
	for {
		token, err := c.token(ctx, stale)
		if err != nil {
			return err
		}
		var header metadata.MD
		as := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		err = invoke(as, method, req, reply, cc, append(opts, grpc.Header(&header))...)
		if status.Code(err) == codes.Unauthenticated && stale == "" {
			stale = token
			continue
		}
		if status.Code(err) == codes.Unavailable && identified {
			identified = false
			continue
		}
		if err == nil {
			c.noteChange(header)
		}
		return err
	}
}

// identify gives a request a request_id (AIP-155), and reports whether it can have one.
func identify(req any) bool {
	m, ok := req.(proto.Message)
	if !ok {
		return false
	}
	fd := m.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if fd == nil {
		return false
	}
	m.ProtoReflect().Set(fd, protoreflect.ValueOfString(uuid.NewString()))
	return true
}

// noteChange notes the change that a call has made. The calls of a command are made
// one after another, so the last change of a service is its newest.
func (c *client) noteChange(header metadata.MD) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range header.Get(gen.ChangeHeader) {
		c.written[parent(change)] = change
	}
}

// signedOut is the error of a command that needs a sign-in.
func (c *client) signedOut() error {
	return failed(codes.Unauthenticated, "not signed in to %s; sign in with: %s", c.address, c.login())
}

// login returns the command that signs in to this server.
func (c *client) login() string {
	if c.address == c.usual {
		return "tidegate login"
	}
	return "tidegate login --server " + quote.Word(c.address)
}

// token returns the access token of the sign-in. It renews a token that is about to
// expire, or that the server has refused (stale).
func (c *client) token(ctx context.Context, stale string) (string, error) {
	usable := func(in *signIn) bool {
		return in.AccessToken != stale && time.Until(in.Expires) > fresh
	}
	known, err := c.store.read()
	if err != nil {
		return "", err
	}
	in := known.server(c.address).SignIn
	if in == nil {
		return "", c.signedOut()
	}
	if usable(in) {
		return in.AccessToken, nil
	}
	var token string
	err = c.store.update(func(st *state) error {
		server := st.server(c.address)
		if server.SignIn == nil {
			return c.signedOut()
		}
		if usable(server.SignIn) { // another command was first
			token = server.SignIn.AccessToken
			return nil
		}
		answer, err := c.signIns.RefreshSignIn(ctx, &identityv1.RefreshSignInRequest{RefreshToken: server.SignIn.RefreshToken})
		if status.Code(err) == codes.Unauthenticated {
			return failed(codes.Unauthenticated, "the sign-in has ended at %s; sign in again with: %s", c.address, c.login())
		}
		if err != nil {
			return err
		}
		server.SignIn = newSignIn(answer)
		token = answer.AccessToken
		return nil
	})
	return token, err
}

// newSignIn returns what is stored of a sign-in.
func newSignIn(answer *identityv1.SignInResponse) *signIn {
	return &signIn{
		Username:      answer.GetUser().GetUsername(),
		AccessToken:   answer.GetAccessToken(),
		Expires:       answer.GetExpireTime().AsTime(),
		RefreshToken:  answer.GetRefreshToken(),
		RefreshExpire: answer.GetRefreshExpireTime().AsTime(),
	}
}

// waitApplied waits until gateways have applied what the command changed.
func (s *shell) waitApplied(ctx context.Context) {
	if s.client == nil {
		return
	}
	for _, change := range s.client.written {
		if err := s.client.applied(ctx, change); err != nil {
			s.warn("done, but %s", oneLine(s.explain(err).Error()))
		}
	}
}

// applied waits until gateways have applied a change; an error says which have
// not.
func (c *client) applied(ctx context.Context, change string) error {
	answer, err := c.changes.WaitChange(ctx, &changev1.WaitChangeRequest{Name: change})
	if err != nil || answer.GetApplied() {
		return err
	}
	var instances []string
	for _, watcher := range answer.GetPendingWatchers() {
		instances = append(instances, path.Base(watcher))
	}
	return fmt.Errorf("not yet applied by %s", strings.Join(instances, ", "))
}
