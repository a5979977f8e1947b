package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the tree that the documents are in, seen from this folder.
const root = "../../.."

// block is a fenced block of a document.
type block struct {
	file string // from the root
	line int    // of the first line of text
	lang string
	run  string // NAME of the comment <!-- run: NAME --> before it
	text string
	// prints is the block of the language text that follows, or "".
	prints string
}

// document is a file in Markdown.
type document struct {
	file   string
	text   string
	blocks []*block
}

// documents reads every Markdown file of the tree, README.md first.
func documents(t *testing.T) []*document {
	t.Helper()
	var docs []*document
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "third_party", "testdata", "tidegate-data"}, name)) {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		docs = append(docs, parse(file, string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(docs, func(a, b *document) int { return strings.Count(a.file, "/") - strings.Count(b.file, "/") })
	slices.SortStableFunc(docs, func(a, b *document) int {
		switch {
		case a.file == b.file:
			return 0
		case a.file == "README.md":
			return -1
		case b.file == "README.md":
			return 1
		}
		return 0
	})
	return docs
}

var runComment = regexp.MustCompile(`^<!-- run: ([a-z-]+) -->$`)

// parse finds the fenced blocks of a document.
func parse(file, text string) *document {
	d := &document{file: file, text: text}
	var open *block
	var run string
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch m := runComment.FindStringSubmatch(line); {
		case isFence && open != nil:
			d.add(open)
			open = nil
		case isFence:
			open = &block{file: file, line: i + 2, lang: fence, run: run}
			run = ""
		case open != nil:
			open.text += line + "\n"
		case m != nil:
			run = m[1]
		case line != "":
			run = ""
		}
	}
	return d
}

// add adds a block; what a command prints goes to the block of the command.
func (d *document) add(b *block) {
	if n := len(d.blocks); b.lang == "text" && n > 0 && d.blocks[n-1].lang == "sh" {
		d.blocks[n-1].prints = b.text
	}
	d.blocks = append(d.blocks, b)
}

// of returns the blocks of a language.
func (d *document) of(lang string) []*block {
	var found []*block
	for _, b := range d.blocks {
		if b.lang == lang {
			found = append(found, b)
		}
	}
	return found
}

// prose is the document without its fenced blocks.
func (d *document) prose() string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(d.text, "")
}

// code returns the pieces of a document that are set as code within its lines.
func (d *document) code() []string {
	var found []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(d.prose(), -1) {
		found = append(found, strings.Join(strings.Fields(m[1]), " "))
	}
	return found
}

// wanted is the pattern of what a block prints: "…" stands for anything.
func wanted(prints string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(prints), "…", ".*") + `\z`)
}
