// Package samplefile is the file by which the standalone server and the command line
// share the sample: the server writes it into the data folder, for the folder's owner
// only, and the command line finds it beside the authority's certificate that it trusts.
// So the sample can be used before anybody has signed in, with the rights of the sample's
// own OAuth client and no more.
package samplefile

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Name is the file's name in the data folder.
const Name = "sample.json"

// File is what the file holds.
type File struct {
	// Made says that the sample was complete.
	Made bool `json:"made"`
	// Server is the gRPC address of the server that has the sample, and Portal the URL of
	// its portal.
	Server string `json:"server"`
	Portal string `json:"portal"`
	// API is the version as users call it, API/VERSION, and Address where clients reach
	// it. Version is its resource name and Backend the URL of its backend.
	API     string `json:"api"`
	Address string `json:"address"`
	Version string `json:"version"`
	Backend string `json:"backend"`
	// App is the application as users call it, Application its resource name and
	// Subscription that of its subscription.
	App          string `json:"app"`
	Application  string `json:"application"`
	Subscription string `json:"subscription"`
	// OAuthClient is the resource name of the OAuth client, which ClientID and
	// ClientSecret belong to.
	OAuthClient  string `json:"oauth_client"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// Of returns the sample of the server at an address, whose authority's certificate is in
// the file ca; nil when there is none that the caller may read.
func Of(server, ca string) *File {
	if ca == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(ca), Name))
	if err != nil {
		return nil
	}
	var f File
	if json.Unmarshal(text, &f) != nil || !f.Made || f.Server != server {
		return nil
	}
	return &f
}
