// Package seal encrypts stored secrets with the installation's master key. It is
// for secrets that must be read again; those that are only compared, such as
// passwords, are hashed elsewhere.
package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// prefix begins each line of a key file.
const prefix = "tidegate-master-key-v1:"

// What Seal returns is a version, a key id, a nonce and the ciphertext.
const (
	version = 1
	idLen   = 4
	headLen = 1 + idLen + chacha20poly1305.NonceSizeX
)

// ErrOpen says that sealed bytes were altered, belong to another context, or were
// sealed with a key that is not in the file.
var ErrOpen = errors.New("the sealed value cannot be opened with this master key")

// Key seals and opens. It is safe for concurrent use.
type Key struct {
	path string // empty for a key that is not stored
	keys atomic.Pointer[[]one]
}

// of returns the keys; there is at least one.
func (k *Key) of() []one { return *k.keys.Load() }

func with(path string, keys []one) *Key {
	k := &Key{path: path}
	k.keys.Store(&keys)
	return k
}

// one is a line of a key file.
type one struct {
	id  [idLen]byte
	key [chacha20poly1305.KeySize]byte
}

// Load reads a key file, which has a key on each line: the first seals, all of
// them open. A file that anybody but its owner can read is refused, unless that is a
// group of this process, as in a volume of Kubernetes.
func Load(path string) (*Key, error) {
	keys, err := read(path)
	if err != nil {
		return nil, err
	}
	return with(path, keys), nil
}

// readAgain returns the keys that the file has now. A file without the key that seals
// at the moment is refused: what this process and others have sealed could not be opened
// any more.
func (k *Key) readAgain() ([]one, error) {
	keys, err := read(k.path)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(keys, k.of()[0]) {
		return nil, fmt.Errorf("read master key: %s does not have the key that is in use; put the new key before it, and remove it later", k.path)
	}
	return keys, nil
}

// ID names the key that seals, and tells nothing of it.
func (k *Key) ID() string { return hex.EncodeToString(k.of()[0].id[:]) }

// read reads a key file.
func read(path string) ([]one, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read master key: %s is not a file", path)
	}
	if err := checkAccess(info.Mode().Perm(), func() bool { return ofOurGroup(info) }); err != nil {
		return nil, fmt.Errorf("read master key: %s %w", path, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	var keys []one
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("read master key: %s line %d: %w", path, n+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("read master key: %s is empty", path)
	}
	return keys, nil
}

// checkAccess reports why a file with this mode may have been read, or written, by
// others than this process.
func checkAccess(mode fs.FileMode, ours func() bool) error {
	switch {
	case mode&0o007 != 0:
		return fmt.Errorf("has mode %04o, others can read it: chmod 600 it, or 640 for a group of this process", mode)
	case mode&0o030 != 0:
		return fmt.Errorf("has mode %04o, its group can do more than read it: chmod 640 it", mode)
	case mode&0o040 != 0 && !ours():
		return fmt.Errorf("has mode %04o, and its group, which this process is not in, can read it: chmod 600 it, or give it to a group of this process", mode)
	}
	return nil
}

// parse reads a line. Its error does not quote the line, which may be a key.
func parse(line string) (one, error) {
	text, ok := strings.CutPrefix(line, prefix)
	if !ok {
		return one{}, fmt.Errorf("it must begin with %s", prefix)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != chacha20poly1305.KeySize {
		return one{}, errors.New("it must be 32 bytes in base64")
	}
	return newOne([chacha20poly1305.KeySize]byte(raw)), nil
}

func newOne(key [chacha20poly1305.KeySize]byte) one {
	sum := sha256.Sum256(key[:])
	return one{id: [idLen]byte(sum[:idLen]), key: key}
}

// Create makes a key and writes it to a new file that only its owner can read. An
// existing file is left alone, and the error is fs.ErrExist.
func Create(path string) (*Key, error) {
	k := with(path, New().of())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	line := prefix + base64.StdEncoding.EncodeToString(k.of()[0].key[:]) + "\n"
	_, err = f.WriteString(line)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("make master key: %w", err)
	}
	return k, nil
}

// New makes a key that is not stored anywhere.
func New() *Key {
	var key [chacha20poly1305.KeySize]byte
	rand.Read(key[:])
	return with("", []one{newOne(key)})
}

// Seal encrypts plain. The context says what the bytes are, for example
// "signing-key/" and its id; Open needs the same one, so that sealed bytes cannot
// be moved to another place.
func (k *Key) Seal(plain, context []byte) []byte {
	key := k.of()[0]
	out := make([]byte, headLen, headLen+len(plain)+chacha20poly1305.Overhead)
	out[0] = version
	copy(out[1:], key.id[:])
	nonce := out[1+idLen : headLen]
	rand.Read(nonce)
	return key.aead().Seal(out, nonce, plain, bound(out[:1+idLen], context))
}

// Open returns what was sealed, or ErrOpen.
func (k *Key) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < headLen+chacha20poly1305.Overhead || sealed[0] != version {
		return nil, ErrOpen
	}
	head, nonce, text := sealed[:1+idLen], sealed[1+idLen:headLen], sealed[headLen:]
	for _, key := range k.of() {
		if !bytes.Equal(key.id[:], head[1:]) {
			continue
		}
		if plain, err := key.aead().Open(nil, nonce, text, bound(head, context)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrOpen
}

// Stale reports whether the bytes were not sealed with the first key, and should be
// sealed again.
func (k *Key) Stale(sealed []byte) bool {
	return len(sealed) < headLen || !bytes.Equal(sealed[1:1+idLen], k.of()[0].id[:])
}

// bound returns the additional data that is authenticated with the ciphertext.
func bound(head, context []byte) []byte {
	return append(append(make([]byte, 0, len(head)+len(context)), head...), context...)
}

func (o one) aead() cipher.AEAD {
	a, err := chacha20poly1305.NewX(o.key[:])
	if err != nil {
		panic(err) // impossible: the type of the key fixes its length
	}
	return a
}
