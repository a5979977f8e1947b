package grant_test

import (
	"maps"
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// The model's applications are named by a letter, their tokens by a letter and a
// digit. When one is gone, the next takes its place.
const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "123456789"
)

func versionOf(digit byte) string { return "apis/x/versions/" + string(digit) }

// living returns the first two of all names that are not gone, or the last one.
func living(all string, name func(c byte) string, gone func(string) bool) []string {
	var list []string
	for i := range len(all) {
		if n := name(all[i]); !gone(n) || len(list) == 0 && i == len(all)-1 {
			list = append(list, n)
		}
		if len(list) == 2 {
			break
		}
	}
	return list
}

// apps returns two applications that can have valid tokens.
func (s state) apps() []string {
	return living(letters, func(c byte) string { return "applications/" + string(c) }, func(app string) bool {
		return !s.holds(app, []string{app, clientOfApp(app), userOf(app)})
	})
}

// tokens returns two valid tokens of an application.
func (s state) tokens(app string) []string {
	letter := app[len(app)-1:]
	return living(digits, func(c byte) string { return letter + string(c) }, func(token string) bool {
		return s.gone[grantName(token)] || s.over(token) || slices.ContainsFunc(s.versions(), func(v string) bool { return s.gone[voidAt(token, v)] })
	})
}

// versions returns two versions that exist.
func (s state) versions() []string {
	return living(digits, versionOf, func(v string) bool { return s.gone[v] })
}

func appOf(token string) string     { return "applications/" + token[:1] }
func clientOfApp(app string) string { return app + "/oauthClients/c" }
func userOf(app string) string      { return "users/" + app[len(app)-1:] }
func grantName(token string) string { return "grants/" + token }

// voidAt is the name that is gone when a token was revoked at a version alone.
func voidAt(token, version string) string { return grantName(token) + "@" + version }

// pair is the name that a denial rests on when there is no subscription.
func pair(app, version string) string { return app + "@" + version }

// state is what the subscription service knows. A name that is gone never comes
// back, and an expired token never becomes valid. A version may need no subscription, and
// need one again. Groups are something that a later
// release may have: an application that is in one rests on it, and stays in it.
type state struct {
	gone   map[string]bool
	subs   map[string]string   // by pair, the subscription
	groups map[string][]string // by application
	free   map[string]bool     // versions that need no subscription

	expires  map[string]time.Time     // by token, once it was issued; all states share it
	issuedAt map[string]moment.Moment // by token, when it was issued; all states share it
}

func (s state) clone() state {
	return state{gone: maps.Clone(s.gone), subs: maps.Clone(s.subs), groups: maps.Clone(s.groups), free: maps.Clone(s.free), expires: s.expires, issuedAt: s.issuedAt}
}

// over reports whether a token has expired.
func (s state) over(token string) bool {
	end, issued := s.expires[token]
	return issued && !time.Now().Before(end)
}

// judge returns the truth about a token, which may have expired, and a version.
func (s state) judge(token, version string, over bool) grant.Answer {
	app := appOf(token)
	client, user := clientOfApp(app), userOf(app)
	base := []string{grantName(token), client, app, user} // the first two are what why looks at
	base = append(base, s.groups[app]...)
	if over || s.gone[voidAt(token, version)] || slices.ContainsFunc(base, func(n string) bool { return s.gone[n] }) {
		return grant.Answer{Denial: &grant.Denial{Reason: grant.ErrUnauthenticated, RestsOn: base}}
	}
	sub, restsOn := s.subs[pair(app, version)], append(base, pair(app, version), version)
	if s.gone[sub] {
		sub = ""
	}
	if s.gone[version] || sub == "" && !s.free[version] {
		return grant.Answer{Denial: &grant.Denial{Reason: grant.ErrNotSubscribed, RestsOn: restsOn}}
	}
	if sub != "" {
		restsOn = append(restsOn, sub)
	}
	return grant.Answer{Grant: &grant.Grant{
		Name: grantName(token), Version: version, User: user, Application: app, Subscription: sub, OAuthClient: client, Stage: grant.Production,
		RestsOn: restsOn, ExpireTime: s.expires[token], Issued: s.issuedAt[token],
	}}
}

// holds reports whether everything still exists that an application's grant rested
// on when it was given or has come to rest on since.
func (s state) holds(app string, restsOn []string) bool {
	return !slices.ContainsFunc(slices.Concat(restsOn, s.groups[app]), func(n string) bool { return s.gone[n] })
}
