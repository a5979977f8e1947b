package validate

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// nuls finds the texts in a message that have the character NUL: Postgres cannot
// store it, and nobody means it.
func nuls(m protoreflect.Message, path string) []fault.Violation {
	var all []fault.Violation
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := path + string(fd.Name())
		switch {
		case fd.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				entry := at + "[" + strconv.Quote(k.String()) + "]"
				all = append(all, nulIn(fd.MapKey(), k.Value(), entry)...)
				all = append(all, nulIn(fd.MapValue(), v, entry)...)
				return true
			})
		case fd.IsList():
			for i := range v.List().Len() {
				all = append(all, nulIn(fd, v.List().Get(i), at+"["+strconv.Itoa(i)+"]")...)
			}
		default:
			all = append(all, nulIn(fd, v, at)...)
		}
		return true
	})
	return all
}

// nulIn checks one value.
func nulIn(fd protoreflect.FieldDescriptor, v protoreflect.Value, path string) []fault.Violation {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return nuls(v.Message(), path+".")
	case protoreflect.StringKind:
		if strings.IndexByte(v.String(), 0) >= 0 {
			return []fault.Violation{{Field: path, Message: "must not have the character NUL"}}
		}
	}
	return nil
}
