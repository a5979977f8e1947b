package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// store is the folder that keeps sign-ins and secrets between commands. It has one
// file, accessible to its owner only and replaced as a whole under a lock, and the
// lock's file.
type store struct {
	dir string
}

// state is what the store holds.
type state struct {
	// Servers has what is known about each server, by its address.
	Servers map[string]*serverState `json:"servers"`
	// Current is the server of commands that name none: the one that was signed in to
	// last, or was chosen since.
	Current string `json:"current,omitempty"`
}

// serverState is what is known about one server.
type serverState struct {
	// CA is the authority's file that the sign-in trusted; empty for the
	// system's authorities. CAFound says that it was not given, but found in the folder.
	CA      string `json:"ca,omitempty"`
	CAFound bool   `json:"ca_found,omitempty"`
	// SignIn is the sign-in, or nil.
	SignIn *signIn `json:"sign_in,omitempty"`
	// DeviceKeys are the keys of this device that sign-ins returned, by username. They
	// stay after a sign-out.
	DeviceKeys map[string]string `json:"device_keys,omitempty"`
	// OAuthClients has what is kept of OAuth clients, by their resource names.
	OAuthClients map[string]storedOAuthClient `json:"oauth_clients,omitempty"`
}

// signIn is a user's sign-in.
type signIn struct {
	Username      string    `json:"username"`
	AccessToken   string    `json:"access_token"`
	Expires       time.Time `json:"expires"`
	RefreshToken  string    `json:"refresh_token"`
	RefreshExpire time.Time `json:"refresh_expires"`
}

// storedOAuthClient is an OAuth client with the newest secret created on this machine.
type storedOAuthClient struct {
	ClientID string `json:"client_id"`
	// Secret is the secret's resource name, ClientSecret its value.
	Secret       string `json:"secret"`
	ClientSecret string `json:"client_secret"`
}

// server returns the state of a server; it is never nil.
func (s *state) server(address string) *serverState {
	if s.Servers == nil {
		s.Servers = map[string]*serverState{}
	}
	if s.Servers[address] == nil {
		s.Servers[address] = &serverState{}
	}
	return s.Servers[address]
}

// deviceKey returns the key of this device that a user's last sign-in returned, or "".
func (s *serverState) deviceKey(username string) string {
	return s.DeviceKeys[strings.ToLower(username)]
}

// keepDeviceKey keeps the key for the user's next sign-in.
func (s *serverState) keepDeviceKey(username, key string) {
	if key == "" {
		return
	}
	if s.DeviceKeys == nil {
		s.DeviceKeys = map[string]string{}
	}
	s.DeviceKeys[strings.ToLower(username)] = key
}

func (s *store) path() string { return filepath.Join(s.dir, "credentials.json") }

// read returns what is stored.
func (s *store) read() (*state, error) {
	text, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return &state{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the sign-in: %w", err)
	}
	var st state
	if err := json.Unmarshal(text, &st); err != nil {
		return nil, fmt.Errorf("read the sign-in: %s is damaged (delete it and sign in again): %w", s.path(), err)
	}
	return &st, nil
}

// update changes what is stored, under a lock that excludes other commands. If change
// fails, nothing is written.
func (s *store) update(change func(*state) error) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("save the sign-in: %w", err)
	}
	lock := flock.New(filepath.Join(s.dir, "credentials.lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("save the sign-in: lock %s: %w", s.dir, err)
	}
	defer lock.Close()
	st, err := s.read()
	if err != nil {
		return err
	}
	if err := change(st); err != nil {
		return err
	}
	return s.write(st)
}

func (s *store) write(st *state) error {
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("save the sign-in: %w", err)
	}
	f, err := os.CreateTemp(s.dir, "credentials-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("save the sign-in: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path())
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("save the sign-in: %w", err)
	}
	return nil
}
