package grpcclient

import (
	"errors"
	"flag"
	"fmt"

	"google.golang.org/grpc"
)

// Instances says how any number of instances of one service are reached, at
// addresses that are learned while the caller runs. It is made by OfService.
type Instances struct {
	// CA, Cert and Key are PEM files: the authority of the instances' certificates,
	// and the certificate and key to present to them. All empty means plaintext,
	// which is only allowed on loopback.
	CA, Cert, Key string
	// Conn, if set, is the connection to the one instance that there is.
	Conn *grpc.ClientConn

	service, flag string
}

// OfService returns the configuration of plaintext connections to the instances of
// a service.
func OfService(service string) Instances { return Instances{service: service, flag: service} }

// Flags registers -SERVICE-ca, -SERVICE-cert and -SERVICE-key, with prefix
// before their names. Their defaults are what the Instances hold.
func (i *Instances) Flags(fs *flag.FlagSet, prefix string) {
	i.flag = prefix + i.service
	fs.StringVar(&i.CA, i.flag+"-ca", i.CA, "PEM `file` of the authority that signs the "+i.service+"s' certificates; empty for plaintext on loopback")
	fs.StringVar(&i.Cert, i.flag+"-cert", i.Cert, "PEM `file` of the certificate to present to "+i.service+"s")
	fs.StringVar(&i.Key, i.flag+"-key", i.Key, "PEM `file` of the certificate's key")
}

// Check reports everything that is wrong with the configuration.
func (i *Instances) Check() error {
	if i.service == "" {
		return errors.New("the instances of no service: they are made by OfService")
	}
	one := i.one("localhost:0")
	return one.Check()
}

// Dial returns a connection to the instance at an address, host:port. Over TLS the
// instance is trusted if the first DNS name of its certificate is the service.
func (i *Instances) Dial(address string) (*grpc.ClientConn, error) {
	if address == "" && i.Conn == nil {
		return nil, fmt.Errorf("dial a %s: it advertises no address", i.service)
	}
	one := i.one(address)
	return one.Dial()
}

// Close closes a connection that Dial returned, other than Instances.Conn.
func (i *Instances) Close(conn *grpc.ClientConn) error {
	one := i.one("")
	return one.Close(conn)
}

// one returns the configuration of a connection to one instance.
func (i *Instances) one(address string) Config {
	return Config{
		Target: "passthrough:///" + address, CA: i.CA, Cert: i.Cert, Key: i.Key, Conn: i.Conn,
		service: i.service, flag: i.flag,
	}
}
