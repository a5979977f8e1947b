package testdb

import (
	"context"
	"os"
	"sync"
)

// Server is a Postgres for a program that is no test.
type Server struct {
	server

	mu    sync.Mutex
	drops []string // statements that remove what was made at a URL
}

// Start returns the server at TIDEGATE_TEST_POSTGRES_URL, or starts one from installed
// binaries. Unlike that of tests, this one waits for its disk at each commit, as servers do
// in use. Without either it returns an error that says so. Stop ends it.
func Start() (*Server, error) {
	if url := os.Getenv("TIDEGATE_TEST_POSTGRES_URL"); url != "" {
		return &Server{server: server{url: url}}, nil
	}
	c, err := start("-c", "fsync=on", "-c", "full_page_writes=on", "-c", "synchronous_commit=on")
	if err != nil {
		return nil, err
	}
	return &Server{server: server{cluster: c}}, nil
}

// Database makes an empty database, or an empty schema where the server was given, and
// returns its URL. It is there until Stop.
func (s *Server) Database(ctx context.Context) (string, error) {
	name := newName()
	if s.cluster != nil {
		return s.cluster.url(name), execute(ctx, s.cluster.url("postgres"), "CREATE DATABASE "+name)
	}
	if err := execute(ctx, s.url, "CREATE SCHEMA "+name); err != nil {
		return "", err
	}
	s.mu.Lock()
	s.drops = append(s.drops, dropSchema(name))
	s.mu.Unlock()
	return s.within(name)
}

// Stop ends a server that Start has started, and removes what Database has made.
func (s *Server) Stop() {
	if s.cluster != nil {
		s.cluster.stop()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, drop := range s.drops {
		_ = execute(context.Background(), s.url, drop) // who gave the server can remove the rest
	}
}
