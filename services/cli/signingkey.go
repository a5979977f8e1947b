package cli

import (
	"context"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// signingKeyCmds are the commands about the keys that access tokens, and what backends are told
// about clients, are signed with.
type signingKeyCmds struct {
	List   signingKeyListCmd   `cmd:"" help:"List the signing keys."`
	Rotate signingKeyRotateCmd `cmd:"" help:"Make a new signing key now, before the next one is due. Tokens that were signed before stay good until they expire."`
}

// signingKeyListCmd lists signing keys.
type signingKeyListCmd struct{}

// Run lists the signing keys.
func (c *signingKeyListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	var all []*oauth2v1.SigningKey
	err = everyPage(func(token string) (string, error) {
		page, err := cl.keys.ListSigningKeys(ctx, &oauth2v1.ListSigningKeysRequest{PageSize: pageSize, PageToken: token})
		all = append(all, page.GetSigningKeys()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&oauth2v1.ListSigningKeysResponse{SigningKeys: all})
	}
	var rows [][]string
	for _, k := range all {
		rows = append(rows, []string{k.GetName(), k.GetKid(), signingPurpose(k.GetPurpose()), word(k.GetState(), "STATE_"), when(k.GetSignTime()), when(k.GetRetireTime()), when(k.GetExpireTime())})
	}
	return s.printTable([]string{"NAME", "KID", "SIGNS", "STATE", "SIGNS FROM", "UNTIL", "EXPIRES"}, rows)
}

// purposes are what signing keys sign, as flags and tables have it.
var purposes = map[string]oauth2v1.SigningKey_Purpose{
	"tokens": oauth2v1.SigningKey_PURPOSE_ACCESS_TOKENS, "identity": oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY,
}

// signingPurpose is what a key signs in words.
func signingPurpose(p oauth2v1.SigningKey_Purpose) string {
	for text, purpose := range purposes {
		if p == purpose {
			return text
		}
	}
	return "tokens"
}

// signingKeyRotateCmd makes a signing key.
type signingKeyRotateCmd struct {
	For string `enum:"tokens,identity" default:"tokens" placeholder:"WHAT" help:"What the key signs: tokens (access tokens, the default), or identity (what backends are told about clients)."`
}

// Run makes the key.
func (c *signingKeyRotateCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	k, err := cl.keys.RotateSigningKey(ctx, &oauth2v1.RotateSigningKeyRequest{Purpose: purposes[c.For]})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(k)
	}
	return s.printFields([2]string{"Name", k.GetName()}, [2]string{"Kid", k.GetKid()}, [2]string{"Signs", signingPurpose(k.GetPurpose())}, [2]string{"State", word(k.GetState(), "STATE_")}, [2]string{"Signs from", when(k.GetSignTime())})
}
