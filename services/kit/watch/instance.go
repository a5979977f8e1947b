package watch

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// maxInstance is the longest name of a watcher: as long as a DNS label.
const maxInstance = 63

var instancePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckInstance reports why name cannot be the instance in a Hello, or nil.
func CheckInstance(name string) error {
	if instancePattern.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q is not 1 to 63 characters of a-z, 0-9 and - with a letter or digit at both ends", name)
}

// InstanceFlag registers -instance, with prefix before its name. Its default is what
// name holds; that of HostInstance is shown with HOSTNAME in it, because a name is
// good for one machine.
func InstanceFlag(fs *flag.FlagSet, prefix string, name *string, host, usage string) {
	fs.StringVar(name, prefix+"instance", *name, usage)
	if *name == HostInstance(host, *name) {
		fs.Lookup(prefix + "instance").DefValue = host + "HOSTNAME"
	}
}

// HostInstance returns a watcher's name: prefix and the machine's name, or fallback
// if that cannot be found.
func HostInstance(prefix, fallback string) string {
	host, err := os.Hostname()
	if err != nil {
		return fallback
	}
	return hostInstance(prefix, host, fallback)
}

func hostInstance(prefix, host, fallback string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(prefix+host))
	name = strings.Trim(name[:min(len(name), maxInstance)], "-")
	if name == "" {
		return fallback
	}
	return name
}

// Beside returns the name under which an instance that watches a service already
// also follows another watch of the same service. Of a long name the beginning is
// left out, because replicas differ at the end.
func Beside(instance, other string) string {
	room := maxInstance - len("-"+other)
	return strings.TrimLeft(instance[max(0, len(instance)-room):], "-") + "-" + other
}
