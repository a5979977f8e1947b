package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidegatehq/tidegate/gen"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// fakeServer signs anybody in and counts. A refresh token works once.
type fakeServer struct {
	identityv1.UnimplementedSignInServiceServer
	identityv1.UnimplementedUserServiceServer
	subscriptionv1.UnimplementedApplicationServiceServer
	subscriptionv1.UnimplementedSubscriptionServiceServer
	changev1.UnimplementedChangeServiceServer

	addr, ca string
	cert     tls.Certificate
	stop     func()

	mu         sync.Mutex
	life       time.Duration // of access tokens
	access     string        // the newest access token
	refresh    string        // the refresh token that works
	refreshes  int
	waited     []string
	applied    bool
	deleted    []string
	deviceKeys []string // that sign-ins brought
}

// newFakeServer starts the server over TLS, with more services.
func newFakeServer(t *testing.T, more ...func(*grpc.Server)) *fakeServer {
	t.Helper()
	authority, files, err := certs.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(certs.Leaf{Names: []string{"127.0.0.1"}, Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, files.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{addr: lis.Addr().String(), ca: ca, cert: cert, life: time.Hour, applied: true}
	srv := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
	f.stop = srv.Stop
	identityv1.RegisterSignInServiceServer(srv, f)
	identityv1.RegisterUserServiceServer(srv, f)
	subscriptionv1.RegisterApplicationServiceServer(srv, f)
	subscriptionv1.RegisterSubscriptionServiceServer(srv, f)
	changev1.RegisterChangeServiceServer(srv, f)
	for _, register := range more {
		register(srv)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return f
}

func (f *fakeServer) tokens() *identityv1.SignInResponse {
	f.access += "a"
	f.refresh += "r"
	return &identityv1.SignInResponse{
		AccessToken: f.access, ExpireTime: timestamppb.New(time.Now().Add(f.life)), RefreshToken: f.refresh,
		User: &identityv1.User{Username: "admin", Roles: []identityv1.User_Role{identityv1.User_ROLE_ADMIN}},
	}
}

func (f *fakeServer) SignIn(_ context.Context, req *identityv1.SignInRequest) (*identityv1.SignInResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetPassword() != "secret" {
		return nil, status.Error(codes.Unauthenticated, "the name or the password is wrong")
	}
	f.deviceKeys = append(f.deviceKeys, req.GetDeviceKey())
	answer := f.tokens()
	answer.DeviceKey = "key of " + req.GetUsername()
	return answer, nil
}

func (f *fakeServer) RefreshSignIn(_ context.Context, req *identityv1.RefreshSignInRequest) (*identityv1.SignInResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetRefreshToken() != f.refresh {
		f.refresh = "spent"
		return nil, status.Error(codes.Unauthenticated, "the sign-in has ended")
	}
	f.refreshes++
	return f.tokens(), nil
}

func (f *fakeServer) SignOut(context.Context, *identityv1.SignOutRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (f *fakeServer) GetUser(ctx context.Context, _ *identityv1.GetUserRequest) (*identityv1.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := metadata.ValueFromIncomingContext(ctx, "authorization"); !slices.Equal(got, []string{"Bearer " + f.access}) {
		return nil, status.Error(codes.Unauthenticated, "the token is not valid")
	}
	return &identityv1.User{Name: "users/1", Username: "admin"}, nil
}

func (f *fakeServer) CreateApplication(ctx context.Context, req *subscriptionv1.CreateApplicationRequest) (*subscriptionv1.Application, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, "services/subscription/changes/42")); err != nil {
		return nil, err
	}
	return &subscriptionv1.Application{Name: "applications/1", DisplayName: req.GetApplication().GetDisplayName()}, nil
}

func (f *fakeServer) WaitChange(_ context.Context, req *changev1.WaitChangeRequest) (*changev1.WaitChangeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited = append(f.waited, req.GetName())
	if f.applied {
		return &changev1.WaitChangeResponse{Applied: true}, nil
	}
	return &changev1.WaitChangeResponse{PendingWatchers: []string{"services/subscription/watchers/gateway-1"}}, nil
}

// signIn signs in and returns a command that is signed in.
func (f *fakeServer) signIn(t *testing.T) command {
	t.Helper()
	c := command{dir: t.TempDir(), env: []string{"TIDEGATE_SERVER=" + f.addr, "TIDEGATE_CA=" + f.ca}}
	login := c
	login.stdin = strings.NewReader("secret\n")
	stdout, stderr, code := login.run(t, "login")
	if want := "Signed in to " + f.addr + " as admin (admin).\n"; stdout != want || code != 0 {
		t.Fatalf("login = %q, %q, %d, want %q", stdout, stderr, code, want)
	}
	return c
}

func TestLogin(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	c := f.signIn(t)
	info, err := os.Stat(filepath.Join(c.dir, "credentials.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("credentials.json: %v, %v, want mode 0600", info, err)
	}
	// The server and its authority are remembered.
	c.env = nil
	if _, stderr, code := c.run(t, "whoami"); code != 0 {
		t.Errorf("whoami = %d, %q, want 0", code, stderr)
	}
	c.stdin = strings.NewReader("wrong\n")
	if _, stderr, code := c.run(t, "login"); code != 1 || stderr != "tidegate: login: the name or the password is wrong, for admin at "+f.addr+"\n" {
		t.Errorf("login with a wrong password = %q, %d", stderr, code)
	}
	if _, stderr, code := c.run(t, "logout"); code != 0 || stderr != "Signed out of "+f.addr+".\n" {
		t.Errorf("logout = %q, %d, want 0", stderr, code)
	}
	if _, stderr, code := c.run(t, "whoami"); code != 1 || stderr != "tidegate: whoami: not signed in to "+f.addr+"; sign in with: tidegate login\n" {
		t.Errorf("whoami after logout = %q, %d", stderr, code)
	}
	// The key of this device is kept, for each user, and sent with the next sign-in.
	for _, user := range []string{"Admin", "other"} {
		c.stdin = strings.NewReader("secret\n")
		if _, stderr, code := c.run(t, "login", "-u", user); code != 0 {
			t.Errorf("login as %s = %d, %q", user, code, stderr)
		}
	}
	if want := []string{"", "key of admin", ""}; !slices.Equal(f.deviceKeys, want) {
		t.Errorf("keys of the device = %q, want %q", f.deviceKeys, want)
	}
}

// TestRefresh runs many commands at once with an access token that has ended:
// one of them renews it, for a refresh token that is used twice ends the
// sign-in.
func TestRefresh(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	f.life = time.Second // less than a token must still be good for
	c := f.signIn(t)
	f.mu.Lock()
	f.life = time.Hour
	f.mu.Unlock()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, stderr, code := c.run(t, "whoami"); code != 0 {
				t.Errorf("whoami = %d, %q, want 0", code, stderr)
			}
		})
	}
	group.Wait()
	if f.refreshes != 1 {
		t.Errorf("%d refreshes, want 1", f.refreshes)
	}

	// A token that the server no longer takes is renewed too.
	f.mu.Lock()
	f.access += "changed"
	f.mu.Unlock()
	if _, stderr, code := c.run(t, "whoami"); code != 0 || f.refreshes != 2 {
		t.Errorf("whoami = %d, %q after %d refreshes, want 0 after 2", code, stderr, f.refreshes)
	}
	f.mu.Lock()
	f.access, f.refresh = "other", "other"
	f.mu.Unlock()
	want := "tidegate: whoami: the sign-in has ended at " + f.addr + "; sign in again with: tidegate login\n"
	if _, stderr, code := c.run(t, "whoami"); code != 1 || stderr != want {
		t.Errorf("whoami after the end of the sign-in = %q, %d, want %q", stderr, code, want)
	}
}

// TestApplied waits for gateways after a write.
func TestApplied(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	c := f.signIn(t)
	stdout, stderr, code := c.run(t, "app", "create", "Phone")
	if want := "Created  Phone\nName     applications/1\n"; stdout != want || stderr != "" || code != 0 {
		t.Errorf("app create = %q, %q, %d, want %q", stdout, stderr, code, want)
	}
	f.mu.Lock()
	f.applied = false
	f.mu.Unlock()
	_, stderr, code = c.run(t, "app", "create", "Phone")
	if want := "tidegate: done, but not yet applied by gateway-1\n"; stderr != want || code != 0 {
		t.Errorf("app create = %q, %d, want %q", stderr, code, want)
	}
	if want := []string{"services/subscription/changes/42", "services/subscription/changes/42"}; !slices.Equal(f.waited, want) {
		t.Errorf("waited for %v, want %v", f.waited, want)
	}
	if _, stderr, code := c.run(t, "plan", "list"); code != 1 || !strings.HasPrefix(stderr, "tidegate: plan list: "+f.addr+" does not know this command: ") {
		t.Errorf("a command that the server lacks = %q, %d", stderr, code)
	}
}

// TestUnreachable names what helps.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	other := newFakeServer(t)
	c := other.signIn(t)
	// Another server has come to the address where one was signed in.
	path := filepath.Join(c.dir, "credentials.json")
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(kept, []byte(other.addr), []byte(f.addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = nil
	const nobody = "127.0.0.1:1"
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	portal := httptest.NewUnstartedServer(http.NotFoundHandler())
	portal.EnableHTTP2, portal.TLS = true, &tls.Config{Certificates: []tls.Certificate{f.cert}}
	portal.StartTLS()
	t.Cleanup(portal.Close)
	gateway := httptest.NewUnstartedServer(http.NotFoundHandler())
	gateway.TLS = &tls.Config{Certificates: []tls.Certificate{f.cert}, NextProtos: []string{"http/1.1"}}
	gateway.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	gateway.StartTLS()
	t.Cleanup(gateway.Close)
	address := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	const notGRPC = " is not the gRPC address of a server; name that with --server, such as localhost:9090"
	for _, x := range []struct{ server, ca, want string }{
		{f.addr, other.ca, "the certificate of " + f.addr + " is not trusted: the authority in " + other.ca + " has not signed it; give the server's with --ca"},
		{f.addr, "", "the certificate of " + f.addr + " is not trusted: the authority in " + other.ca + ", which was given at the sign-in, has not signed it; give the server's with --ca"},
		{address(plain), f.ca, address(plain) + notGRPC},
		{address(portal), f.ca, address(portal) + notGRPC},
		{address(gateway), f.ca, address(gateway) + notGRPC},
		{nobody, f.ca, "no server answers at " + nobody + "; start one with tidegate serve, or name another with --server"},
		{strings.Replace(f.addr, "127.0.0.1", "localhost", 1), f.ca, "the certificate of " + strings.Replace(f.addr, "127.0.0.1", "localhost", 1) +
			" is not trusted: x509: certificate is not valid for any names, but wanted to match localhost"},
	} {
		c.stdin = strings.NewReader("secret\n")
		_, stderr, code := c.run(t, "login", "--server="+x.server, "--ca="+x.ca)
		if want := "tidegate: login: " + x.want + "\n"; stderr != want || code != 1 {
			t.Errorf("login at %s:\n got  %q, %d\n want %q, 1", x.server, stderr, code, want)
		}
	}
}

// TestDamagedStore is refused and left alone.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := command{dir: dir}.run(t, "whoami")
	want := "tidegate: whoami: read the sign-in: " + path + " is damaged (delete it and sign in again): unexpected end of JSON input\n"
	if stderr != want || code != 1 {
		t.Errorf("whoami = %q, %d, want %q", stderr, code, want)
	}
}
