package grpcclient_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestInstances(t *testing.T) {
	for args, want := range map[string]string{
		"": "", "-p.gateway-ca=a -p.gateway-cert=c -p.gateway-key=k": "",
		"-p.gateway-cert=c": "-p.gateway-cert and -p.gateway-key go together\n-p.gateway-cert needs -p.gateway-ca",
	} {
		instances := grpcclient.OfService("gateway")
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		instances.Flags(fs, "p.")
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		got := ""
		if err := instances.Check(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Check of %q = %q, want %q", args, got, want)
		}
	}
	if err := new(grpcclient.Instances).Check(); err == nil {
		t.Error("Check of Instances that OfService has not made = nil, want an error")
	}
	instances := grpcclient.OfService("gateway")
	for address, want := range map[string]string{
		"": "it advertises no address", "10.0.0.1:9293": "-gateway: passthrough:///10.0.0.1:9293 is not on loopback",
	} {
		if _, err := instances.Dial(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(%q) = %v, want %q in it", address, err, want)
		}
	}
	conn, err := instances.Dial("127.0.0.1:9293")
	if err != nil || conn.Target() != "passthrough:///127.0.0.1:9293" {
		t.Fatalf("Dial on loopback = %v, %v", conn, err)
	}
	if err := instances.Close(conn); err != nil {
		t.Error(err)
	}
	given, err := memnet.Listen("x").Dial("portal")
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	instances.Conn = given
	if conn, err := instances.Dial(""); err != nil || conn != given || instances.Close(conn) != nil {
		t.Errorf("Dial = %v, %v, want the given connection", conn, err)
	}
}
