package e2e

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestRefusedCommands gives commands that the server refuses: each is one line
// that names the flag or argument, the exit code says whose mistake it is, and
// nothing is half-made.
func TestRefusedCommands(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	sh, backend := s.newShell(t), newBackend(t)
	for _, args := range [][]string{
		{"login", "--password-file", s.PasswordFile},
		{"api", "create", "Echo", "--endpoint", backend, "--plan", "Gold", "--plan", "Silver", "--publish"},
		{"api", "version", "create", "Echo", "2.0.0", "--endpoint", backend},
		{"api", "create", "Bare", "--endpoint", backend},
		{"api", "create", "Slash/ed", "--context", "/slashed", "--endpoint", backend, "--plan", "Gold", "--publish"},
		{"app", "create", "Phone"},
		{"app", "create", "Tablet"},
		{"subscribe", "Phone", "Echo/1.0.0", "--plan", "Gold"},
		{"oauth-client", "create", "Phone"},
		{"oauth-client", "create", "Tablet"},
		{"user", "create", "bob", "--role", "subscriber", "--no-password"},
		{"user", "create", "carol", "--role", "creator", "--no-password"},
	} {
		sh.run(t, args...)
	}
	bob := s.shellOf(t, sh, "bob")
	bob.run(t, "app", "create", "Watch")
	bob.run(t, "subscribe", "Watch", "Echo/1.0.0", "--plan", "Silver")
	carol := s.shellOf(t, sh, "carol")
	carol.run(t, "api", "create", "Carols", "--endpoint", backend)
	before := s.inventory(t)
	ref := regexp.MustCompile(`\(ref \w+\)`)
	long, longer, huge := strings.Repeat("x", 101), strings.Repeat("x", 2000), strings.Repeat("x", 2<<20)
	for _, c := range []struct {
		args   string
		stderr string
		code   int
	}{
		// Names that are taken, unknown, or of more than one thing.
		{"api create Echo --context /other --endpoint " + backend, `api create: NAME: "Echo" is taken`, 1},
		{"api create eCHo --context /other --endpoint " + backend, `api create: NAME: "eCHo" is taken`, 1},
		{"api create Other --context /echo --endpoint " + backend, `api create: --context: "/echo" is taken`, 1},
		{"api get Nothing", `api get: API: there is no API "Nothing" that you may see; list them with: tidegate api list`, 1},
		{"api get Echo/1.0.0", `api get: API: "Echo/1.0.0" is a version; name the API alone, as Echo, or see tidegate api version`, 1},
		{"api get apis/nothing", `api get: API: there is no API "apis/nothing" that you may see; list them with: tidegate api list`, 1},
		{"api get apis/UPPER", `api get: API: there is no API "apis/UPPER" that you may see; list them with: tidegate api list`, 1},
		{"api get " + longer, `api get: API: there is no API "` + longer + `" that you may see; list them with: tidegate api list`, 1},
		{"api get Echo Nothing", `api get: API: there is no API "Nothing" that you may see; list them with: tidegate api list`, 1},
		{"api get Echo apis/nothing", `api get: API: there is no API "apis/nothing" that you may see; list them with: tidegate api list`, 1},
		{"api get apis/nothing Echo apis/UPPER", `api get: API: there are no APIs "apis/UPPER", "apis/nothing" that you may see; list them with: tidegate api list`, 1},
		{"api get Echo Echo", `api get: API: Echo is given twice`, 2},
		{"api get", `api get: API: missing; see tidegate api get --help`, 2},
		{"api get" + strings.Repeat(" apis/x", 1001), `api get: API: 1001 are too many; give at most 1000`, 2},
		{"api version get Echo/1.0.0 apis/x/versions/y", `api version get: VERSION: there is no version "apis/x/versions/y" that you may see; list them with: tidegate api version list`, 1},
		{"api version get Echo/1.0.0 Echo/9", `api version get: VERSION: there is no version "Echo/9" that you may see; list them with: tidegate api version list Echo`, 1},
		{"app get Phone applications/nothing", `app get: APP: there is no application "applications/nothing" that you may see; list them with: tidegate app list`, 1},
		{"plan get Gold plans/gold", `plan get: PLAN: Gold and plans/gold are the same`, 2},
		{"plan get Gold plans/lead plans/tin", `plan get: PLAN: there are no plans "plans/lead", "plans/tin" that you may see; list them with: tidegate plan list`, 1},
		{"subscription get subscriptions/x subscriptions/y", `subscription get: SUBSCRIPTION: there are no subscriptions "subscriptions/x", "subscriptions/y" that you may see; list them with: tidegate subscription list`, 1},
		{"subscription get subscriptions/x Echo/1.0.0", `subscription get: SUBSCRIPTION: Echo/1.0.0 is not the name of a subscription; several are given as subscriptions/…`, 2},
		{"subscription get Phone Echo/1.0.0 Echo/2.0.0", `subscription get: SUBSCRIPTION: Phone is not the name of a subscription; several are given as subscriptions/…`, 2},
		{"api publish apis/UPPER/versions/x", `api publish: VERSION: there is no version "apis/UPPER/versions/x" that you may see; list them with: tidegate api version list`, 1},
		{"api publish Echo/" + longer, `api publish: VERSION: there is no version "Echo/` + longer + `" that you may see; list them with: tidegate api version list Echo`, 1},
		{"api publish Echo", `api publish: VERSION: "Echo" has the versions 1.0.0, 2.0.0; name one, as Echo/1.0.0`, 1},
		{"api publish Echo/9", `api publish: VERSION: there is no version "Echo/9" that you may see; list them with: tidegate api version list Echo`, 1},
		{"api publish Nothing/1.0.0", `api publish: VERSION: there is no version "Nothing/1.0.0" that you may see; list them with: tidegate api version list`, 1},
		{"app get applications/UPPER", `app get: APP: there is no application "applications/UPPER" that you may see; list them with: tidegate app list`, 1},
		{"app get " + longer, `app get: APP: there is no application "` + longer + `" that you may see; list them with: tidegate app list`, 1},
		{"user get users/UPPER", `user get: USERNAME: there is no user "users/UPPER" that you may see; list them with: tidegate user list`, 1},
		{"user get " + longer, `user get: USERNAME: there is no user "` + longer + `" that you may see; list them with: tidegate user list`, 1},
		{"session close x/y", `session close: SESSION: there is no live session "x/y" that you may see; list them with: tidegate session list`, 1},
		{"record get a=b", `record get: REF: there is no record "a=b" that you may see; one is there a few seconds after the end; list them with: tidegate record list`, 1},
		{"subscribe Tablet Echo/1.0.0 --plan plans/UPPER", `subscribe: --plan: there is no plan "plans/UPPER" that you may see; list them with: tidegate plan list`, 1},
		{"subscribe Tablet Echo/1.0.0 --plan " + longer, `subscribe: --plan: there is no plan "` + longer + `" that you may see; list them with: tidegate plan list`, 1},
		{"subscription delete subscriptions/UPPER", `subscription delete: SUBSCRIPTION: there is no subscription "subscriptions/UPPER" that you may see; list them with: tidegate subscription list`, 1},
		{"app get Nothing", `app get: APP: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"user get nobody", `user get: USERNAME: there is no user "nobody" that you may see; list them with: tidegate user list`, 1},
		{"session close nothing", `session close: SESSION: there is no live session "nothing" that you may see; list them with: tidegate session list`, 1},
		{"record list --end-reason tired", `record list: --end-reason: there is no end reason TIRED; there are ` + endReasons(), 2},
		{"record list --end-reason unspecified", `record list: --end-reason: there is no end reason UNSPECIFIED; there are ` + endReasons(), 2},
		{"record list --api Nothing/1.0.0", `record list: --api: there is no version "Nothing/1.0.0" that you may see; list them with: tidegate api version list`, 1},
		{"record list --app applications/nothing", `record list: applications/nothing not found`, 1},
		{"usage --app Nothing", `usage: --app: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"usage --api apis/a/versions/b", `usage: apis/a/versions/b not found`, 1},
		{"usage --since yesterday", `usage: --since: "yesterday" is neither a time such as 2026-01-31T12:00:00Z nor how long ago, such as 24h or 7d`, 2},
		{"usage --since 1h --until 2h", `usage: --until: must be after --since`, 2},
		{"session list --key kiosk", `session list: --key: "kiosk" is no name of an API key, which is applications/…/apiKeys/…; what it is called needs --app beside it`, 2},
		{"session list --oauth-client production", `session list: --oauth-client: "production" is no name of an OAuth client, which is applications/…/oauthClients/…; production and sandbox need --app beside them`, 2},
		{"session list --app Phone --oauth-client live", `session list: --oauth-client: "live" is no name of an OAuth client, which is applications/…/oauthClients/…; production and sandbox need --app beside them`, 2},
		{"session list --app Nothing --key kiosk", `session list: --app: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"record list --key kiosk", `record list: --key: "kiosk" is no name of an API key, which is applications/…/apiKeys/…; what it is called needs --app beside it`, 2},
		{"record list --key applications/none/apiKeys/none", `record list: applications/none/apiKeys/none not found`, 1},
		{"session list --app Nothing", `session list: --app: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"session close", `session close: SESSION, or one or more of --app, --api, --address and --filter: one of the two is needed`, 2},
		{"session close --address example.com", `session close: --address: must be an address, as 192.0.2.7 or 2001:db8::7, or a network without bits behind its prefix, as 192.0.2.0/24`, 1},
		{"revoke", `revoke: WHAT or --token: one of them is needed`, 2},
		{"revoke Phone --app Phone", `revoke: --app: goes with grants/… only`, 2},
		{"revoke Nothing", `revoke: WHAT: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"revoke applications/nothing", `revoke: WHAT: there is no application, OAuth client, secret, API key or subscription "applications/nothing" that you may see; list them with: tidegate app list`, 1},
		{"revoke --token secret", `revoke: --token: a secret does not belong on the command line, where every user of this machine can read it: give it as @FILE, or - for standard input`, 2},
		{"subscription list --app Nothing", `subscription list: --app: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"subscription update Phone Echo/1.0.0 --plan Lead", `subscription update: --plan: there is no plan "Lead" that you may see; list them with: tidegate plan list`, 1},
		{"api list Nothing", `api list: API: there is no API "Nothing" that you may see; list them with: tidegate api list`, 1},
		{"api version update Echo/1.0.0 --place body:token", `api version update: --place: "body:token": must be header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol, ticket or first-message`, 2},
		{"api version update Echo/1.0.0 --place header:Host", `api version update: --security: must not be Host, which means something else in a handshake`, 1},
		{"api version update Echo/1.0.0 --place cookie:token", `api version update: --origin: must list the pages that may connect, as https://app.example.com, because security[0].oauth2.places[0] is a cookie`, 1},
		{"app update Phone", `app update: nothing to change: give --rename, --description or --plan`, 2},
		{"app update Phone --rename Tablet", `app update: NAME: "Tablet" is taken`, 1},
		{"change get catalog/999", `change get: CHANGE: there is no change "catalog/999" that you may see; list them with: tidegate change list`, 1},
		{"change list --limit 0", `change list: --limit: 0 is not between 1 and 1000`, 2},
		{"gateway get nothing", `gateway get: GATEWAY: there is no gateway "nothing" that you may see; list them with: tidegate gateway list`, 1},
		{"record get nothing", `record get: REF: there is no record "nothing" that you may see; one is there a few seconds after the end; list them with: tidegate record list`, 1},
		{"subscribe Nothing Echo/1.0.0", `subscribe: APP: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"subscribe Tablet Echo/1.0.0 --plan Lead", `subscribe: --plan: there is no plan "Lead" that you may see; list them with: tidegate plan list`, 1},
		{"subscribe Tablet Echo/1.0.0", `subscribe: --plan: name one of Gold, Silver`, 2},
		{"subscribe Tablet Bare", `subscribe: VERSION: Bare/1.0.0 offers no plan to subscribe to`, 1},
		{"subscription delete Phone", `subscription delete: SUBSCRIPTION: give subscriptions/…, or an application and a version`, 2},
		{"subscription delete Tablet Echo/1.0.0", `subscription delete: Tablet is not subscribed to Echo/1.0.0`, 1},
		{"subscription delete subscriptions/x", `subscription delete: SUBSCRIPTION: there is no subscription "subscriptions/x" that you may see; list them with: tidegate subscription list`, 1},
		{"oauth-client create Phone", `oauth-client create: the application has an OAuth client for production already; create another secret with: tidegate oauth-client secret create Phone`, 1},
		{"oauth-client secret create Phone --sandbox", `oauth-client secret create: APP: Phone has no sandbox OAuth client; create one with: tidegate oauth-client create Phone --sandbox`, 1},
		{"oauth-client secret create Phone --lifetime=-1s", `oauth-client secret create: --lifetime: must be in the future`, 1},
		{"oauth-client create Phone --sandbox --lifetime=-1s", `oauth-client create: --lifetime: must be in the future`, 1},
		{"oauth-client secret delete nothing", `oauth-client secret delete: SECRET: there is no secret "nothing" that you may see; list them with: tidegate oauth-client secret list`, 1},
		{"token Nothing", `token: APP: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"token --client-id k --secret-file " + s.PasswordFile, `token: get a token: invalid_client: the OAuth client is not known, or its secret is wrong`, 1},
		{"session renew Echo/1.0.0 nothing", `session renew: --app, --token or --key: one of them is needed`, 2},
		{"session renew Echo/1.0.0 nothing --app Phone --by server", `session renew: gateways/-/sessions/nothing that this credential can renew not found`, 1},
		{"session renew Echo/1.0.0 nothing --app Phone --by phone", `session renew: --by: "phone" is none of gateway, server`, 2},
		{"session renew Echo/1.0.0 nothing --app Phone", `session renew: ` + strings.Replace(s.WSS, "wss", "https", 1) + `/-/sessions/nothing/credential refused: 404 Not Found: there is no such session, or the credential cannot renew it`, 1},
		{"ticket Echo/1.0.0", `ticket: --app, --token or --key: one of them is needed`, 2},
		{"ticket Echo/1.0.0 --app Phone --lifetime 3m", `ticket: --lifetime: 3m0s is not between 1s and 2m0s, in whole seconds`, 2},
		{"ticket Echo/1.0.0 --app Phone", `ticket: ` + strings.Replace(s.WSS, "wss", "https", 1) + `/-/tickets refused: 400 Bad Request: the API takes no tickets: its version does not list the place ticket`, 1},
		{"ticket Echo/1.0.0 --app Phone --client here", `ticket: ` + strings.Replace(s.WSS, "wss", "https", 1) + `/-/tickets refused: 400 Bad Request: client: must be an address or a network without bits behind its prefix, such as 203.0.113.7 or 2001:db8::/64`, 1},
		{"connect " + s.WS + "/echo?ticket=x", `connect: ADDRESS: a ticket does not belong on the command line, where every user of this machine can read it: give --ticket`, 2},
		{"connect Nothing/1.0.0", `connect: ADDRESS: there is no version "Nothing/1.0.0" that you may see; list them with: tidegate api version list`, 1},
		{"connect " + s.WS + "/echo/1.0.0", `connect: ` + s.WS + `/echo/1.0.0 refused: 401 Unauthorized: the API needs a credential; it is looked for in the header Authorization: Bearer, then in the query parameter access_token (ref R); give --app, or a token with --token`, 1},
		{"connect " + s.WS + "/bare", `connect: ` + s.WS + `/bare refused: 404 Not Found: no such API or version (ref R)`, 1},

		// Values that are malformed or too long.
		{"api create " + long + " --context /other --endpoint " + backend, `api create: NAME: must have 1 to 100 characters, no control characters and no space at either end`, 1},
		{"api create Other --context other --endpoint " + backend, `api create: --context: must be 1 to 8 segments of A-Z a-z 0-9 _ . -, each after a / and starting with a letter, a digit or _, as /team/echo`, 1},
		{"api create Other --version 1/0 --endpoint " + backend, `api create: --version: must be 1 to 30 characters of A-Z a-z 0-9 _ . - and start with a letter or a digit, as 1.0.0`, 1},
		{"api create Other --endpoint ftp://h", `api create: --endpoint: must be a ws, wss, http or https URL of at most 2048 characters with a host, without user info and fragment`, 1},
		{"api create Other --endpoint " + backend + " --plan Lead", `api create: --plan: there is no plan "Lead" that you may see; list them with: tidegate plan list`, 1},
		{"api create Other --endpoint " + backend + " --origin nonsense", `api create: --origin: must be an origin, as https://example.com, https://*.example.com, http://[::1]:3000, app://localhost, file:// or null`, 1},
		{"api create Other --endpoint " + backend + " --backend-header X-A", `api create: --backend-header: must be set:NAME=VALUE, secret:NAME=VALUE, secret:NAME (the stored value stays), remove:NAME or copy:NAME=FROM, with the VALUE of a secret as @FILE or - for standard input`, 2},
		{"api create Other --endpoint " + backend + " --backend-header secret:X-A=s3cret", `api create: --backend-header: X-A: a secret does not belong on the command line, where every user of this machine can read it: give it as @FILE, or - for standard input`, 2},
		{"api create Other --endpoint " + backend + " --backend-header set:Authorization=s3cret", `api create: --backend-header: Authorization says who somebody is: give it as secret:Authorization=@FILE`, 2},
		{"api create Other --endpoint " + backend + " --backend-header remove:Host", `api create: --backend-header: must not be Host, which backend_options.host sets`, 1},
		{"api create Other --endpoint " + backend + " --backend-header secret:X-A", `api create: --backend-header: is required: none is stored`, 1},
		{"api create Other --endpoint " + backend + " --ending sometimes=4000", `api create: --ending: "sometimes=4000" must be CAUSE=CODE, CAUSE=CODE:TEXT or CAUSE=:TEXT, with the CAUSE drain, backend-gone, revoked, expired, blocked or throttled`, 2},
		{"api create Other --endpoint " + backend + " --address wss://chat.example.com", `api create: --address: "wss://chat.example.com" must be without a scheme and a port, as chat.example.com/app: how a host is reached is the installation's`, 2},
		{"api create Other --endpoint " + backend + " --address chat.example.com/a", `api create: --address: there is no virtual host "chat.example.com": the installation has none, only the shared host, which is an empty text`, 1},
		{"api create Other --endpoint " + backend + " --address /a/", `api create: --address: must be 1 to 8 segments of A-Z a-z 0-9 _ . -, each after a / and starting with a letter, a digit or _, without a / at the end, as /app/socket`, 1},
		{"api create Other --endpoint " + backend + " --ending drain=1006", `api create: --ending: must be 1000, 1001, 1008, 1011, 1012, 1013, or from 3000 to 4999, or 0 for the one by default`, 1},
		{"api create Other --endpoint " + backend + " --backend-host https://h", `api create: --backend-host: must be a host with or without a port, as app.example.com:8443, of at most 255 characters`, 1},
		{"api create Other --endpoint " + backend + " --security maybe", `api create: --security: "maybe" is none of oauth2, api-key, none`, 2},
		{"api create Other --endpoint " + backend + " --idle-timeout 31d", `api create: --idle-timeout: must be greater than or equal to 1s and less than or equal to 2592000s`, 1},
		{"api create Other --endpoint " + backend + " --max-session-age 1ms", `api create: --max-session-age: must be greater than or equal to 1s and less than or equal to 2592000s`, 1},
		{"api create Other --publish --endpoint " + backend, `api create: --plan: a plan is needed with --publish, as --plan Gold (or --security none); list them with: tidegate plan list`, 2},
		{"api create Other --publish --security oauth2 --endpoint " + backend, `api create: --plan: a plan is needed with --publish, as --plan Gold (or --security none); list them with: tidegate plan list`, 2},
		{"api version create Echo 3.0.0 --publish --endpoint " + backend, `api version create: --plan: a plan is needed with --publish, as --plan Gold (or --security none); list them with: tidegate plan list`, 2},
		{"api version create Echo 1.0.0 --endpoint " + backend, `api version create: --version: the API has a version "1.0.0"`, 1},
		{"api update Echo", `api update: nothing to change: give --rename, --context, --description, --default or --default-paths`, 2},
		{"api update Echo --context /moved", `api update: --context: is fixed while the API has a published version`, 1},
		{"api update Echo --default 9", `api update: --default: there is no version "Echo/9" that you may see; list them with: tidegate api version list Echo`, 1},
		{"api version update Echo/1.0.0", `api version update: nothing to change: give --file, --endpoint, --sandbox-endpoint, --plan, --security, --place, --origin, --address, --tag, --description, --max-session-age, --idle-timeout, --traffic-plan, --subscriptionless, --max-message, --error-frames, --ending, --backend-host, --backend-origin, --backend-header, --backend-identity, --pass-credential, --deflate, --pings, or one of the flags of --health-, --suspend-, --backend- and --http-`, 2},
		{"api update Echo --description " + huge, `api update: --description is larger than the server accepts`, 1},
		{"app create Other --description=" + huge, `app create: --description is larger than the server accepts`, 1},
		{"app create " + huge, `app create: the command line is larger than the server accepts`, 1},
		{"app create " + long, `app create: NAME: must have 1 to 100 characters, no control characters and no space at either end`, 1},
		{"user create b!b --role admin --no-password", `user create: USERNAME: must be 1 to 64 characters of A-Z a-z 0-9 _ . @ + - and start with a letter or a digit`, 1},

		// Plans, and what versions say of limits.
		{"plan get Nothing", `plan get: PLAN: there is no plan "Nothing" that you may see; list them with: tidegate plan list`, 1},
		{"plan create Lead --rate messages=1/1s,refuse", `plan create: --rate messages=1/1s,refuse: a rate of messages has PAUSE, DROP or CLOSE, not REFUSE`, 1},
		{"plan create Lead --rate bytes=1KiB/1s --message-size 64KiB", `plan create: --rate bytes=1KiB/1s: a message of 65536 bytes can need 1m4s at this rate, more than a pause of 10s: raise longest_pause or the amount, bound the message_size, or have DROP or CLOSE`, 1},
		{"plan create Lead --connections 1 --connections 2", `plan create: --connections 2: limits[0] is a limit of connections too, and there is one at most`, 1},
		{"plan update Gold --rate messages=1/1s,name=UPPER", `plan update: --rate messages=1/1s,name=UPPER: must be 1 to 63 characters of a-z, 0-9 and - and begin with a letter, as messages-rate`, 1},
		{"plan delete Gold", `plan delete: plans/gold is in use by 2 versions that offer it, 1 subscription: take it from them first`, 1},
		{"plan create gOLD", `plan create: NAME: "gOLD" is taken`, 1},
		{"plan create Lead --rate messages=0/1s", `plan create: --rate: "0" is not a number of 1 or more, as 100`, 2},
		{"api version update Echo/1.0.0 --traffic-plan Lead", `api version update: --traffic-plan: there is no plan "Lead" that you may see; list them with: tidegate plan list`, 1},
		{"api version update Echo/1.0.0 --max-message big", `api version update: --max-message: "big" is not a number of bytes of 1 or more, as 4096, 64KiB, 1MiB or 1GiB, or 0 for that of the gateway`, 2},
		{"api version update Echo/1.0.0 --max-message 2GiB", `api version update: --max-message: must be greater than or equal to 0 and less than or equal to 1073741824`, 1},
		{"api version update Echo/1.0.0 --error-frames loud", `api version update: --error-frames: "loud" is none of json, wso2, none, text=TEXT, default`, 2},
		{"quota list --app Nothing", `quota list: --app: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"quota reset quotaUses/nothing", `quota reset: QUOTA: there is no quota "quotaUses/nothing" that you may see; list them with: tidegate quota list`, 1},

		// Deny rules.
		{"deny create", `deny create: nothing to deny: give --api, --app, --subscription or --from`, 2},
		{"deny create --from here", `deny create: --from: must be an IP address or a network such as 203.0.113.0/24: "here" is not a network such as 10.0.0.0/8`, 1},
		{"deny create --from 10.1.0.0/8", `deny create: --from: must be an IP address or a network such as 203.0.113.0/24: "10.1.0.0/8" has bits beyond its length: 10.0.0.0/8 is meant`, 1},
		{"deny create --api Nothing", `deny create: --api: there is no version "Nothing" that you may see; list them with: tidegate api version list`, 1},
		{"deny create --api Echo --api Echo/1.0.0", `deny create: --api: several must be versions of one API, such as EchoWebSocket/1.0.0 and EchoWebSocket/2.0.0`, 2},
		{"deny create --app Nothing", `deny create: --app: there is no application "Nothing" that you may see; list them with: tidegate app list`, 1},
		{"deny create --subscription Phone", `deny create: --subscription: must be subscriptions/{subscription}`, 1},
		{"deny create --from 10.0.0.1 --lifetime=-1s", `deny create: --lifetime: must be in the future`, 1},
		{"deny list --from here", `deny list: --from: "here" is no IP address or network, such as 203.0.113.7 or 203.0.113.0/24`, 2},
		{"deny list --api Nothing", `deny list: --api: there is no API "Nothing" that you may see; list them with: tidegate api list`, 1},
		{"deny get nothing", `deny get: RULE: there is no deny rule "nothing" that you may see; list them with: tidegate deny list`, 1},
		{"deny update nothing", `deny update: nothing to change: give --api, --app, --subscription, --from, --reason or --lifetime`, 2},
		{"session get nothing", `session get: SESSION: there is no live session "nothing" that you may see; list them with: tidegate session list`, 1},

		// States that do not allow it.
		{"api publish Bare", `api publish: --plan: a published version needs a plan, unless its security is none or it is subscriptionless`, 1},
		{"api delete Echo", `api delete: a version of the API is published: demote it first`, 1},
		{"api delete Echo --force", `api delete: a version of the API is published: demote it first`, 1},
		{"api delete Bare", `api delete: --force: the API has versions: delete them first, or set it`, 1},
		{"api version delete Echo/1.0.0", `api version delete: the version is PUBLISHED: demote it first`, 1},
		{"app create Phone", `app create: NAME: "Phone" is taken`, 1},
		{"subscribe Phone Echo/1.0.0 --plan Gold", `subscribe: Phone is already subscribed to Echo/1.0.0`, 1},
		{"subscribe Tablet Echo/1.0.0 --plan Bronze", `subscribe: --plan: Echo/1.0.0 does not offer it; it offers Gold, Silver`, 1},
		{"subscribe Tablet Echo/2.0.0 --plan Gold", `subscribe: VERSION: Echo/2.0.0 offers no plan to subscribe to`, 1},
		{"user create bob --role admin --no-password", `user create: the username "bob" is taken`, 1},
		{"user delete admin", `user delete: this is the last administrator who can sign in`, 1},
		{"user roles admin --role creator", `user roles: this is the last administrator who can sign in`, 1},
	} {
		stdout, stderr, code := sh.try(t, "", strings.Fields(c.args)...)
		stderr = ref.ReplaceAllString(stderr, "(ref R)")
		if stderr != "tidegate: "+c.stderr+"\n" || strings.Count(stderr, "\n") != 1 || code != c.code || stdout != "" {
			t.Errorf("tidegate %.200s\n got  %.500q, %d, stdout %q\n want %.500q, %d", c.args, stderr, code, stdout, "tidegate: "+c.stderr, c.code)
		}
	}
	// Who may create and not publish is left with nothing half-made.
	for _, args := range []string{
		"api create Other --publish --plan Gold --endpoint " + backend,
		"api create Other --publish --security none --no-default --endpoint " + backend,
		"api version create Carols 2.0.0 --publish --plan Gold --endpoint " + backend,
		"api version create Carols 2.0.0 --publish --default --plan Gold --endpoint " + backend,
	} {
		_, stderr, code := carol.try(t, "", strings.Fields(args)...)
		if !strings.HasSuffix(stderr, " create: this needs the role publisher\n") || code != 1 {
			t.Errorf("carol: tidegate %s = %q, %d, want that she needs a role", args, stderr, code)
		}
	}
	// Who subscribes is held to what the version offers, and to what is for others.
	for args, want := range map[string]string{
		"subscription update Watch Echo/1.0.0 --plan Bronze": "subscription update: --plan: Echo/1.0.0 does not offer it; it offers Gold, Silver",
		"subscription block Watch Echo/1.0.0":                "subscription block: only the version's owner and administrators may do this",
		"app update Watch --plan Silver":                     "app update: --plan: only an administrator may change it",
		"plan update Silver --connections 1":                 "plan update: this needs the role admin",
		"api version update Echo/1.0.0 --traffic-plan Gold":  "api version update: only its owner and administrators may do this",
	} {
		if _, stderr, code := bob.try(t, "", strings.Fields(args)...); stderr != "tidegate: "+want+"\n" || code != 1 {
			t.Errorf("bob: tidegate %s = %q, %d, want %q", args, stderr, code, want)
		}
	}
	if got := bob.run(t, "plan", "get", "Silver"); strings.Contains(got, "its versions") {
		t.Errorf("bob is shown what uses a plan:\n%s", got)
	}
	if after := s.inventory(t); after != before {
		t.Errorf("refusals have changed something:\nbefore %s\nafter  %s", before, after)
	}

	// An ambiguous name is told with what tells its bearers apart.
	bob.run(t, "app", "create", "Phone")
	_, stderr, code := sh.try(t, "", "app", "get", "Phone")
	if !strings.HasPrefix(stderr, `tidegate: app get: APP: 2 applications are called "Phone": give one of applications/`) || code != 1 {
		t.Errorf("app get Phone = %q, %d, want that there are two", stderr, code)
	}
	bob.says(t, []string{"Phone"}, "app", "get", "Phone")
	_, stderr, code = sh.try(t, "", "token", "Tablet", "--portal", "https://"+occupied(t)[:10]+"1")
	if code != 1 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("token from nowhere = %q, %d, want one line", stderr, code)
	}
	// A name with a slash is still found.
	sh.says(t, []string{"Slash/ed/1.0.0"}, "api", "version", "get", "Slash/ed")
	sh.says(t, []string{"Slash/ed/1.0.0"}, "api", "version", "get", "Slash/ed/1.0.0")
}

// endReasons are the words of all end reasons.
func endReasons() string {
	var words []string
	for _, n := range slices.Sorted(maps.Keys(usagev1.EndReason_name))[1:] {
		words = append(words, strings.TrimPrefix(usagev1.EndReason_name[n], "END_REASON_"))
	}
	return strings.Join(words, ", ")
}

// shellOf gives somebody a password and returns their command line.
func (s *Stack) shellOf(t *testing.T, admin *shell, username string) *shell {
	t.Helper()
	const password = "everybody has a long password\n"
	if _, stderr, code := admin.try(t, password, "user", "password", username); code != 0 {
		t.Fatalf("user password %s = %d, %q", username, code, stderr)
	}
	sh := s.newShell(t)
	if _, stderr, code := sh.try(t, password, "login", "-u", username); code != 0 {
		t.Fatalf("login = %d, %q", code, stderr)
	}
	return sh
}

// inventory lists all that there is.
func (s *Stack) inventory(t *testing.T) string {
	t.Helper()
	p := s.admin(t)
	apis, err1 := p.catalog.ListApis(p.ctx(t), &catalogv1.ListApisRequest{})
	versions, err2 := p.catalog.ListVersions(p.ctx(t), &catalogv1.ListVersionsRequest{Parent: "apis/-"})
	apps, err3 := p.apps.ListApplications(p.ctx(t), &subscriptionv1.ListApplicationsRequest{})
	subs, err4 := p.subs.ListSubscriptions(p.ctx(t), &subscriptionv1.ListSubscriptionsRequest{})
	users, err5 := p.users.ListUsers(p.ctx(t), &identityv1.ListUsersRequest{})
	var names []string
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
	}
	for _, a := range apis.GetApis() {
		names = append(names, a.GetName()+" "+a.GetEtag())
	}
	for _, v := range versions.GetVersions() {
		names = append(names, v.GetName()+" "+v.GetEtag())
	}
	for _, a := range apps.GetApplications() {
		names = append(names, a.GetName()+" "+a.GetEtag())
		clients, err := p.apps.ListOAuthClients(p.ctx(t), &subscriptionv1.ListOAuthClientsRequest{Parent: a.GetName()})
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, c := range clients.GetOauthClients() {
			names = append(names, c.GetName()+" "+c.GetEtag())
		}
	}
	for _, x := range subs.GetSubscriptions() {
		names = append(names, x.GetName()+" "+x.GetEtag())
	}
	for _, x := range users.GetUsers() {
		names = append(names, x.GetName()+" "+x.GetEtag())
	}
	return strings.Join(names, "\n")
}
