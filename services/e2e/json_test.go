package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// printed is a command line and a field that its result has. A word in capitals stands
// for a name that only the server knows.
type printed struct{ args, field string }

// everyCommand has each command at least once.
func everyCommand(s *Stack, dir, password string) []printed {
	return []printed{
		{"login --password-file " + s.PasswordFile, "username"},
		{"whoami", "username"},
		{"open --print", "address"},
		// First, as the client answers no pings.
		{"session list", "sessions"},
		{"session count --by application", "counts"},
		{"session get SESSION", "clientAddress"},
		{"session renew Json/1.0.0 SESSION --token @" + filepath.Join(dir, "token"), "scopes"},
		{"session close SESSION", "closed"},
		{"session close --address 192.0.2.0/24", "silentGateways"},
		{"record get SESSION", "endReason"},
		{"plan list", "plans"},
		{"plan create Lead --rate messages=100/1s,burst=200 --quota messages=5000/day --connections 10 --price-label cheap --attribute team=ferry", "limits"},
		{"plan get Lead", "attributes"},
		{"plan get Lead Gold", "plans"},
		{"plan update Lead --rename Tin --add-limit --message-size 64KiB --billing commercial", "priceLabel"},
		{"plan update Tin --remove-limit connections", "limits"},
		{"plan delete Tin", "deleted"},
		{"api create Other --endpoint ws://localhost:1 --plan Gold", "state"},
		{"api list", "apis"},
		{"api get Json", "displayName"},
		{"api get Json Other", "apis"},
		{"api version get Json/1.0.0 Other", "versions"},
		{"api update Other --rename Renamed --description changed", "description"},
		{"api version list", "versions"},
		{"api version get Json/1.0.0", "endpoints"},
		{"api version check Json/1.0.0", "checks"},
		{"api endpoints Json/1.0.0", "endpoints"},
		{"api version update Renamed --tag one --tag two --max-session-age 1h --idle-timeout 10m --origin https://example.com", "maxSessionAge"},
		{"api version update Renamed --backend-host client --backend-origin endpoint --pings clients", "backendOptions"},
		{"api version update Renamed --backend-identity headers --pass-credential", "passCredential"},
		{"api version update Renamed --deflate --backend-identity jwt", "deflate"},
		{"api version update Renamed --address /cable,socket,keep", "furtherAddresses"},
		{"api version update Renamed -f " + filepath.Join(dir, "version"), "idleTimeout"},
		{"api version update Renamed --ending drain=4500 --ending throttled=:slow", "clientEndings"},
		{"api version update Renamed --backend-host app.example:8443 --backend-origin client --pings both --origin null", "warnings"},
		{"api version update Renamed --backend-header set:X-Tenant=acme --backend-header secret:X-Key=@" + password, "backendOptions"},
		{"api version update Renamed --traffic-plan Silver --max-message 64KiB --error-frames wso2 --subscriptionless", "errorFrames"},
		{"api version update Renamed --no-subscriptionless --traffic-plan=", "trafficPlan"},
		{"api update Renamed --default-paths", "defaultVersionPaths"},
		{"api publish Renamed", "state"},
		{"api demote Renamed", "state"},
		{"app create Phone --description calls", "owner"},
		{"app list --query phone --order name", "applications"},
		{"app get Phone", "description"},
		{"app create Tablet", "owner"},
		{"app get Phone Tablet", "applications"},
		{"subscribe Phone Json --plan Gold", "plan"},
		{"app update Phone --description calls", "description"},
		{"subscription update Phone Json --plan Gold", "plan"},
		{"app update Phone --plan Silver", "plan"},
		{"app update Phone --plan=", "displayName"},
		{"subscription list --app Phone --api Json --plan Gold --state active", "subscriptions"},
		{"subscription block Phone Json", "state"},
		{"subscription get Phone Json", "state"},
		{"subscribe Tablet Json --plan Gold", "plan"},
		{"subscription get SUBSCRIPTIONS", "subscriptions"},
		{"subscription restore Phone Json", "state"},
		{"oauth-client create Phone --lifetime 1h", "oauthClient"},
		{"oauth-client list Phone", "oauthClients"},
		{"oauth-client secret create Phone", "oauthClientSecret"},
		{"oauth-client secret list Phone", "oauthClientSecrets"},
		{"apikey create Phone kiosk --lifetime 90d --from 127.0.0.1 --referer *.example.com", "key"},
		{"apikey list Phone", "apiKeys"},
		{"apikey get Phone kiosk", "permittedReferers"},
		{"apikey update Phone kiosk --rename shop --from= --referer=", "displayName"},
		{"apikey rotate Phone shop --overlap 1h", "replacedExpireTime"},
		{"apikey delete Phone shop", "deleted"},
		{"token Phone", "access_token"},
		{"token Phone --api Json/1.0.0 --as-user", "access_token"},
		{"api version update Json/1.0.0 --place header:Authorization --place query:access_token --place ticket", "security"},
		{"ticket Json/1.0.0 --app Phone --lifetime 2m --origin https://app.example.com --client 127.0.0.1", "ref"},
		{"record list", "sessionRecords"},
		{"usage", "usage"},
		{"usage --api Json --api Renamed --by version", "usage"},
		{"usage --by plan --top 1 --order-by bytes", "usage"},
		{"deny create --from 203.0.113.0/24 --api Json/1.0.0 --reason scans --lifetime 7d", "versions"},
		{"deny list --from 203.0.113.7 --api Json --order newest", "denyRules"},
		{"deny get RULE", "apiDisplayName"},
		{"deny update RULE --api Json --app applications/none --from 2001:db8::/32 --lifetime 0s", "clientAddress"},
		{"deny delete RULE", "deleted"},
		{"quota list", "quotaUses"},
		{"quota reset QUOTA", "resetTime"},
		{"quota add 5 QUOTA", "added"},
		{"quota events --since 1h", "quotaEvents"},
		{"user create bob --role creator --no-password", "roles"},
		{"user list", "users"},
		{"user list --state pending --role creator --query b --order username", "users"},
		{"user sign-up wren --display-name Wren --password-file " + password, "state"},
		{"user sign-up-policy", "policy"},
		{"user approve wren", "state"},
		{"user get bob", "username"},
		{"user roles bob --role publisher", "roles"},
		{"user password bob --new-file " + password, "username"},
		{"user suspend bob", "state"},
		{"user restore bob", "state"},
		{"user unlock bob", "state"},
		{"api transfer Renamed bob", "owner"},
		{"api transfer Renamed me", "owner"},
		{"sign-in list", "signIns"},
		{"sign-in end --all", "ended"},
		{"oauth-client secret delete SECRET", "deleted"},
		{"gateway list", "gateways"},
		{"gateway get GATEWAY", "build"},
		{"service list", "watchers"},
		{"change list --since 1h --actor admin", "changes"},
		{"security-event list --since 1h --event signed_in --user admin --from 127.0.0.1", "securityEvents"},
		{"change get catalog/1", "actorDisplayName"},
		{"server list", "servers"},
		{"server use " + s.GRPC, "current"},
		{"signing-key list", "signingKeys"},
		{"signing-key rotate", "name"},
		{"signing-key rotate --for identity", "purpose"},
		{"certs " + filepath.Join(dir, "certs"), "files"},
		{"admin recover bob --data " + filepath.Dir(s.CA), "recovered"},
		{"version", "version"},
		{"user delete bob", "deleted"},
		{"oauth-client delete Phone", "deleted"},
		{"subscription delete Phone Json", "deleted"},
		{"revoke Phone", "silentGateways"},
		{"app delete Phone", "with"},
		{"api version create Renamed 2.0.0 --endpoint ws://localhost:1", "state"},
		{"api version delete Renamed/2.0.0", "deleted"},
		{"api version delete Renamed", "deleted"},
		{"api delete Renamed", "deleted"},
		{"logout", "signedOut"},
		{"server remove " + s.GRPC, "removed"},
	}
}

// TestJSON reads what every command of the command line prints with -o json.
func TestJSON(t *testing.T) {
	t.Parallel()
	s := start(t, newData(t), append(quick(), "-no-sample", "-subscription.sign-up", "approval")...).Stack
	p, sh := s.admin(t), s.newShell(t)
	x := p.publish(t, "Json", newBackend(t))
	p.quotaByDay(t, x)
	echo(t, s.connect(t, s.WS+x.path, p.accessToken(t, x)), websocket.MessageText, "hello")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(p.accessToken(t, x)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte("idle_timeout: 300s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("a long password of another user"), 0o600); err != nil {
		t.Fatal(err)
	}
	tried := []string{"serve ", "connect ", "completion "} // what they print is no object
	names := strings.NewReplacer()
	for _, c := range everyCommand(s, dir, password) {
		switch c.args {
		case "oauth-client secret delete SECRET":
			names = strings.NewReplacer("SECRET", sh.name(t, "oauth-client secret list Phone"))
		case "gateway get GATEWAY":
			names = strings.NewReplacer("GATEWAY", sh.name(t, "gateway list"))
		case "subscription get SUBSCRIPTIONS":
			all := namesOf(sh.prints(t, "subscription list --api Json"))
			if len(all) < 2 {
				t.Fatalf("the subscriptions are %q, want several", all)
			}
			names = strings.NewReplacer("SUBSCRIPTIONS", strings.Join(all, " "))
		case "deny get RULE":
			names = strings.NewReplacer("RULE", sh.name(t, "deny list"))
		case "quota reset QUOTA":
			names = strings.NewReplacer("QUOTA", sh.name(t, "quota list"))
		case "session get SESSION":
			session := sh.name(t, "session list")
			names = strings.NewReplacer("SESSION", session[strings.LastIndexByte(session, '/')+1:])
		}
		tried = append(tried, c.args+" ")
		out := sh.prints(t, names.Replace(c.args))
		var answer map[string]any
		if err := json.Unmarshal([]byte(out), &answer); err != nil || answer[c.field] == nil {
			t.Errorf("tidegate -o json %s has no %s (%v):\n%s", c.args, c.field, err, out)
		}
		if with, _ := answer["with"].([]any); c.field == "with" && !slices.Contains(with, "its live sessions") {
			t.Errorf("tidegate -o json %s does not say what went along:\n%s", c.args, out)
		}
	}
	_, list, _ := strings.Cut(sh.run(t, "--help"), "\nCommands:\n")
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+(?: [a-z-]+)*)(?:  |$)`).FindAllStringSubmatch(list, -1) {
		if !strings.Contains("\n"+strings.Join(tried, "\n"), "\n"+m[1]+" ") {
			t.Errorf("whether tidegate %s prints a whole object is not tried", m[1])
		}
	}
}

// name returns the name of the first object of a list, once there is one.
func (sh *shell) name(t *testing.T, list string) (name string) {
	t.Helper()
	eventually(t, func() error {
		all := namesOf(sh.prints(t, list))
		if len(all) == 0 {
			return errors.New("tidegate " + list + " shows none")
		}
		name = all[0]
		return nil
	})
	return name
}

// namesOf returns the names of the objects of a list.
func namesOf(list string) (names []string) {
	for _, m := range regexp.MustCompile(`"name": "(\S+)"`).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	return names
}

// prints returns what a command prints with -o json. The record of a session takes a
// moment to be reported.
func (sh *shell) prints(t *testing.T, line string) (out string) {
	t.Helper()
	eventually(t, func() error {
		stdout, stderr, code := sh.try(t, "", append([]string{"-o", "json"}, strings.Fields(line)...)...)
		if out = stdout; code != 0 && strings.HasPrefix(line, "record get") {
			return errors.New(stderr)
		}
		if code != 0 {
			t.Fatalf("tidegate %s = %d, %s", line, code, stderr)
		}
		return nil
	})
	return out
}
