package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// serverCmds are the commands about the servers that are known on this machine.
type serverCmds struct {
	List   serverListCmd   `cmd:"" help:"List the servers that you have signed in to."`
	Use    serverUseCmd    `cmd:"" help:"Use a server in the commands that name none."`
	Remove serverRemoveCmd `cmd:"" help:"Forget a server: the sign-in ends, and the secrets that are kept for it are gone."`
}

// knownServer is what is shown of a server; it has no secret.
type knownServer struct {
	Server string `json:"server"`
	// Current says that commands that name no server use it.
	Current bool `json:"current"`
	// Username is who is signed in, and ExpireTime when that ends at the latest unless it
	// is renewed; nobody and never after a sign-out.
	Username   string     `json:"username"`
	ExpireTime *time.Time `json:"expireTime"`
	// CA is the authority's file, "" for the system's authorities.
	CA string `json:"ca"`
	// Secrets is how many OAuth clients' secrets are kept.
	Secrets int `json:"secrets"`
}

// knownServers returns what is known, by address.
func (s *state) knownServers() []knownServer {
	all := []knownServer{}
	for _, address := range slices.Sorted(maps.Keys(s.Servers)) {
		server := s.Servers[address]
		known := knownServer{Server: address, Current: address == s.Current, CA: server.CA, Secrets: len(server.OAuthClients)}
		if in := server.SignIn; in != nil {
			known.Username, known.ExpireTime = in.Username, &in.RefreshExpire
		}
		all = append(all, known)
	}
	return all
}

// serverListCmd lists servers.
type serverListCmd struct{}

// Run lists the servers.
func (c *serverListCmd) Run(s *shell) error {
	st, err := s.store()
	if err != nil {
		return err
	}
	known, err := st.read()
	if err != nil {
		return err
	}
	all := known.knownServers()
	if s.whole() {
		return s.printValue(map[string][]knownServer{"servers": all})
	}
	var rows [][]string
	for _, server := range all {
		current, ends := "", ""
		if server.Current {
			current = "in use"
		}
		if server.ExpireTime != nil {
			ends = server.ExpireTime.Local().Format(time.RFC3339)
		}
		rows = append(rows, []string{server.Server, server.Username, ends, server.CA, current})
	}
	return s.printTable([]string{"SERVER", "USER", "ENDS", "CA", ""}, rows)
}

// serverUseCmd chooses a server.
type serverUseCmd struct {
	Server string `arg:"" name:"address" help:"The server's gRPC address, as the list has it."`
}

// Run uses the server from now on.
func (c *serverUseCmd) Run(s *shell) error {
	st, err := s.store()
	if err != nil {
		return err
	}
	var used knownServer
	err = st.update(func(known *state) error {
		if err := known.knows(c.Server); err != nil {
			return err
		}
		known.Current = c.Server
		used = known.knownServers()[slices.IndexFunc(known.knownServers(), func(k knownServer) bool { return k.Current })]
		return nil
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printValue(used)
	}
	return s.printFields([2]string{"Server", used.Server}, [2]string{"User", used.Username})
}

// knows returns an error that lists the servers that are known if this one is not.
func (s *state) knows(address string) error {
	if s.Servers[address] != nil {
		return nil
	}
	if len(s.Servers) == 0 {
		return usagef("ADDRESS: you have signed in to no server; sign in with: tidegate login --server HOST:PORT")
	}
	return usagef("ADDRESS: you have not signed in to %q; name one of %s", address, strings.Join(slices.Sorted(maps.Keys(s.Servers)), ", "))
}

// serverRemoveCmd forgets a server.
type serverRemoveCmd struct {
	Server string `arg:"" name:"address" help:"The server's gRPC address, as the list has it."`

	yesFlag `embed:""`
}

// Run ends the sign-in, at the server too where it answers, and forgets the rest.
func (c *serverRemoveCmd) Run(ctx context.Context, s *shell) error {
	st, err := s.store()
	if err != nil {
		return err
	}
	known, err := st.read()
	if err != nil {
		return err
	}
	if err := known.knows(c.Server); err != nil {
		return err
	}
	gone := known.Servers[c.Server]
	err = s.confirm(ctx, c.Yes, "Forgets the server "+c.Server, func() []string {
		return []string{number(signedIn(gone), nil, "sign-in", "sign-ins"), number(len(gone.OAuthClients), nil, "kept secret", "kept secrets")}
	})
	if err != nil {
		return err
	}
	if gone.SignIn != nil {
		s.global.Server = c.Server
		if err := s.signOut(ctx, gone.SignIn); err != nil {
			s.warn("the sign-in goes on at %s until it expires: %s", c.Server, oneLine(s.explain(err).Error()))
		}
	}
	err = st.update(func(known *state) error {
		delete(known.Servers, c.Server)
		if known.Current == c.Server {
			known.Current = ""
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printValue(map[string]any{"removed": c.Server, "secrets": len(gone.OAuthClients)})
	}
	return s.printFields(append([][2]string{{"Removed", c.Server}}, s.along()...)...)
}

// signedIn is how many users are signed in to a server from here: one or none.
func signedIn(server *serverState) int {
	if server.SignIn == nil {
		return 0
	}
	return 1
}

// signOut ends a sign-in at the server.
func (s *shell) signOut(ctx context.Context, in *signIn) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	_, err = cl.signIns.SignOut(ctx, &identityv1.SignOutRequest{RefreshToken: in.RefreshToken})
	return err
}
