// Package filestamp tells whether a file has changed since it was read, so that what is
// replaced while a program runs is read again.
package filestamp

import (
	"os"
	"time"
)

// Stamp is what is seen of a file from outside. The zero Stamp is that of no file.
type Stamp struct{ info os.FileInfo }

// Of returns the stamp of the file that a path leads to, over symbolic links: one that
// leads to another file since, as in a volume of Kubernetes, is a change. Take it before
// the file is read, so that no later change goes unseen. Its error is that of os.Stat.
func Of(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{info: info}, nil
}

// Fresh reports whether the file had changed so shortly before that one more change may have
// left its time as it was: file systems count in milliseconds, and some in seconds.
func (s Stamp) Fresh(now time.Time) bool {
	return s.info != nil && now.Sub(s.info.ModTime()) < 2*time.Second
}

// Same reports whether the file looked the same when both stamps were taken: no other
// file has taken its place, and neither its size nor its time of change differ.
func (s Stamp) Same(other Stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == other.info
	}
	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime())
}
