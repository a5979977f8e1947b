package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// flagsOfLimit returns the flags with one limit.
func flagsOfLimit(flag, text string) *limitFlags {
	f := &limitFlags{}
	*map[string]*[]string{
		"--rate": &f.Rate, "--quota": &f.Quota, "--connections": &f.Connections, "--message-size": &f.MessageSize, "--session-age": &f.SessionAge,
	}[flag] = []string{text}
	return f
}

// TestLimits reads limits and prints them in words.
func TestLimits(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ flag, text, want, words string }{
		{"--rate", "messages=100/1s", `rate:{unit:UNIT_MESSAGES amount:100 per:{seconds:1}}`, "100 messages a second (pause)"},
		{"--rate", "messages=1/s", `rate:{unit:UNIT_MESSAGES amount:1 per:{seconds:1}}`, "1 message a second (pause)"},
		{"--rate", "bytes=1MiB/1m,burst=2MiB,from-client,per-connection,drop,name=up", `name:"up" reaction:REACTION_DROP
			rate:{unit:UNIT_BYTES amount:1048576 per:{seconds:60} burst:2097152 direction:DIRECTION_FROM_CLIENT per_connection:true}`,
			"1 MiB a minute, burst 2 MiB, from the client, each connection (drop)"},
		{"--rate", "messages=50/10s,from-backend,pause,longest-pause=1m", `reaction:REACTION_PAUSE
			rate:{unit:UNIT_MESSAGES amount:50 per:{seconds:10} direction:DIRECTION_FROM_BACKEND longest_pause:{seconds:60}}`,
			"50 messages in 10s, from the backend, longest pause 1m (pause)"},
		{"--rate", "messages=100/1s,burst=200,close", `reaction:REACTION_CLOSE rate:{unit:UNIT_MESSAGES amount:100 per:{seconds:1} burst:200}`,
			"100 messages a second, burst 200 (close)"},
		{"--rate", "handshakes=10/h,observe", `observe:true rate:{unit:UNIT_HANDSHAKES amount:10 per:{seconds:3600}}`, "10 handshakes an hour (observe)"},
		{"--rate", "handshakes=10/1m", `rate:{unit:UNIT_HANDSHAKES amount:10 per:{seconds:60}}`, "10 handshakes a minute (refuse)"},
		{"--quota", "messages=5000/day", `quota:{unit:UNIT_MESSAGES amount:5000 window:WINDOW_DAY}`, "5000 messages a day (drop)"},
		{"--quota", "sessions=7/hour", `quota:{unit:UNIT_SESSIONS amount:7 window:WINDOW_HOUR}`, "7 sessions an hour (refuse)"},
		{"--quota", "bytes=1GiB/month,close,on-outage=refuse", `reaction:REACTION_CLOSE
			quota:{unit:UNIT_BYTES amount:1073741824 window:WINDOW_MONTH on_outage:OUTAGE_REFUSE}`, "1 GiB a month, refused in an outage (close)"},
		{"--quota", "bytes=1500/week,observe,on-outage=allow", `observe:true quota:{unit:UNIT_BYTES amount:1500 window:WINDOW_WEEK on_outage:OUTAGE_ALLOW}`,
			"1500 bytes a week (observe)"},
		{"--connections", "100", `connections:{most:100}`, "100 connections (refuse)"},
		{"--connections", "1,close-oldest,name=seat", `name:"seat" reaction:REACTION_CLOSE_OLDEST connections:{most:1}`, "1 connection (close-oldest)"},
		{"--message-size", "64KiB", `message_size:{bytes:65536}`, "messages of 64 KiB (close)"},
		{"--session-age", "12h,name=age", `name:"age" session_age:{age:{seconds:43200}}`, "sessions of 12h (close)"},
		{"--session-age", "7d", `session_age:{age:{seconds:604800}}`, "sessions of 7d (close)"},
	} {
		got, err := flagsOfLimit(x.flag, x.text).limits()
		if err != nil || len(got) != 1 {
			t.Errorf("%s %s: %v, %v", x.flag, x.text, got, err)
			continue
		}
		want := &catalogv1.Limit{}
		if err := prototext.Unmarshal([]byte(x.want), want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got[0].limit, protocmp.Transform()); diff != "" || got[0].flag != x.flag+" "+x.text {
			t.Errorf("%s %s is of %q (-want +got):\n%s", x.flag, x.text, got[0].flag, diff)
		}
		if words := limitWords(want); words != x.words {
			t.Errorf("%s %s in words = %q, want %q", x.flag, x.text, words, x.words)
		}
	}
	if got := limitWords(&catalogv1.Limit{}); got != "a limit that this program does not know" {
		t.Errorf("a limit of a newer server in words = %q", got)
	}
	if got := planWords(&catalogv1.Plan{}); got != "none" {
		t.Errorf("a plan without limits in words = %q", got)
	}
}

// TestWrongLimits reads what is no limit: the error names the flag and what would be
// right.
func TestWrongLimits(t *testing.T) {
	t.Parallel()
	const rate = "burst=AMOUNT, from-client, from-backend, per-connection, pause, drop, close, refuse, longest-pause=TIME, observe, name=NAME"
	for _, x := range []struct{ flag, text, want string }{
		{"--rate", "", `"" is not UNIT=AMOUNT/TIME with messages, bytes or handshakes, as messages=100/1s`},
		{"--rate", "messages=100", `"messages=100" is not UNIT=AMOUNT/TIME with messages, bytes or handshakes, as messages=100/1s`},
		{"--rate", "sessions=100/1s", `"sessions=100/1s" is not UNIT=AMOUNT/TIME with messages, bytes or handshakes, as messages=100/1s`},
		{"--rate", "unspecified=100/1s", `"unspecified=100/1s" is not UNIT=AMOUNT/TIME with messages, bytes or handshakes, as messages=100/1s`},
		{"--rate", "messages=0/1s", `"0" is not a number of 1 or more, as 100`},
		{"--rate", "messages=1KiB/1s", `"1KiB" is not a number of 1 or more, as 100`},
		{"--rate", "bytes=1MB/1s", `"1MB" is not a number of bytes of 1 or more, as 4096, 64KiB, 1MiB or 1GiB`},
		{"--rate", "bytes=9223372036854775807KiB/1s", `"9223372036854775807KiB" is not a number of bytes of 1 or more, as 4096, 64KiB, 1MiB or 1GiB`},
		{"--rate", "messages=1/day", `the time "day" is not 1s to 1h, as in messages=100/1s`},
		{"--rate", "messages=1/100ms", `the time "100ms" is not 1s to 1h, as in messages=100/1s`},
		{"--rate", "messages=1/2h", `the time "2h" is not 1s to 1h, as in messages=100/1s`},
		{"--rate", "messages=1/1s,fast", `"fast" is none of ` + rate},
		{"--rate", "messages=1/1s,close-oldest", `"close-oldest" is none of ` + rate},
		{"--rate", "messages=1/1s,observe=yes", `"observe=yes" is none of ` + rate},
		{"--rate", "messages=1/1s,", `"" is none of ` + rate},
		{"--rate", "messages=1/1s,burst=x", `"x" is not a number of 1 or more, as 100`},
		{"--rate", "messages=1/1s,pause,drop", "pause and drop: give one of them"},
		{"--rate", "messages=1/1s,from-client,from-backend", "from-client and from-backend: give one of them, or none for both directions together"},
		{"--rate", "messages=1/1s,longest-pause=1h", `longest-pause: "1h" is not 1s to 10m, as longest-pause=30s`},
		{"--quota", "messages=1/1s", `the window "1s" is none of minute, hour, day, week, month, as in messages=5000/day`},
		{"--quota", "handshakes=1/day", `"handshakes=1/day" is not UNIT=AMOUNT/WINDOW with messages, bytes or sessions, as messages=5000/day`},
		{"--quota", "messages=1/day,burst=2", `"burst=2" is none of drop, close, refuse, on-outage=allow, on-outage=refuse, observe, name=NAME`},
		{"--quota", "messages=1/day,on-outage=wait", `on-outage: "wait" is neither allow nor refuse`},
		{"--connections", "none", `"none" is not a number of connections of 1 or more, as 100`},
		{"--connections", "3000000000", `"3000000000" is not a number of connections of 1 or more, as 100`},
		{"--connections", "1,drop", `"drop" is none of refuse, close-oldest, observe, name=NAME`},
		{"--message-size", "big", `"big" is not a number of bytes of 1 or more, as 4096, 64KiB, 1MiB or 1GiB`},
		{"--session-age", "0", `"0" is not a duration of 1s or more, as 12h or 7d`},
	} {
		got, err := flagsOfLimit(x.flag, x.text).limits()
		if err == nil || err.Error() != x.flag+": "+x.want {
			t.Errorf("%s %s = %v, %v\nwant %s: %s", x.flag, x.text, got, err, x.flag, x.want)
		}
	}
}
