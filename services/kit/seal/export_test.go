package seal

// NewTestKey returns a key with these 32 bytes.
func NewTestKey(key []byte) *Key { return with("", []one{newOne([32]byte(key))}) }
