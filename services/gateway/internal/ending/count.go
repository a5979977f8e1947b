package ending

// Totals is what was relayed in the two directions.
type Totals struct {
	FromClient, FromBackend Count
}

// Count is what was relayed in one direction. Control frames are neither relayed
// nor counted.
type Count struct {
	Messages uint64 // counted at their first frame
	Frames   uint64
	Payload  uint64 // bytes without frame headers
	Wire     uint64 // bytes with them
}

// Add adds d to c.
func (c *Count) Add(d *Count) {
	c.Messages += d.Messages
	c.Frames += d.Frames
	c.Payload += d.Payload
	c.Wire += d.Wire
}

// Add adds u to t.
func (t *Totals) Add(u *Totals) {
	t.FromClient.Add(&u.FromClient)
	t.FromBackend.Add(&u.FromBackend)
}

// Minus returns c less d, which must not exceed it.
func (c Count) Minus(d Count) Count {
	return Count{c.Messages - d.Messages, c.Frames - d.Frames, c.Payload - d.Payload, c.Wire - d.Wire}
}

// Minus returns t less u, which must not exceed it.
func (t Totals) Minus(u Totals) Totals {
	return Totals{t.FromClient.Minus(u.FromClient), t.FromBackend.Minus(u.FromBackend)}
}
