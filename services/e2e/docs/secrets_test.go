package docs

import (
	"regexp"
	"strings"
	"testing"
)

// secretWord finds what a command must not have among its arguments: a variable that
// holds a secret, or what stands before one.
var secretWord = regexp.MustCompile(`\$\{?(TOKEN|SECRET|AUTH|ME|PASSWORD)\b|Bearer|Basic |access_token=|\bpassword\\?"|refreshToken\\?"|--(token|secret|revoke)[ =][^@-]|(-u|--user) `)

// exposed returns the commands of a shell text that have a secret on their command
// line. What stands in files, standard input and the environment, and what a shell does
// itself, is on none.
func exposed(text string) []string {
	text = regexp.MustCompile(`(?s)<<-?(\w+)(.*?)\n.*?\n(\w+)\n`).ReplaceAllString(text, "$2\n")
	text = strings.ReplaceAll(text, "\\\n", " ")
	text = regexp.MustCompile(`<\([^()]*\)`).ReplaceAllString(text, "FILE")
	var found []string
	for command := range strings.FieldsFuncSeq(strings.ReplaceAll(text, "$(", "\n"), func(r rune) bool { return strings.ContainsRune("\n|;&", r) }) {
		command = regexp.MustCompile(`^\s*(\w+=\S*\s+)*`).ReplaceAllString(command, "")
		if regexp.MustCompile(`^(echo|printf|sed|field|date|\w+=)`).MatchString(command) {
			continue // a builtin, what filters text, the clock, or an assignment alone
		}
		if secretWord.MatchString(command) {
			found = append(found, command)
		}
	}
	return found
}

// TestSecretsStayOffCommandLines reads every command of every document. Lines for
// wscat, which takes a token nowhere else, are marked as for trials.
func TestSecretsStayOffCommandLines(t *testing.T) {
	for _, d := range documents(t) {
		for _, b := range d.of("sh") {
			for _, command := range exposed(b.text) {
				t.Errorf("%s:%d: a secret is on the command line of %q", d.file, b.line, command)
			}
		}
		for line := range strings.Lines(indented(d)) {
			switch found := exposed(line); {
			case len(found) == 0:
			case !strings.HasPrefix(strings.TrimSpace(line), "wscat "):
				t.Errorf("%s: a secret is on the command line of %q", d.file, found)
			case !strings.Contains(d.prose(), "for trials"):
				t.Errorf("%s: %q is not marked as for trials", d.file, found)
			}
		}
		for _, code := range d.code() {
			if strings.HasPrefix(code, "tidegate ") && len(exposed(code)) > 0 {
				t.Errorf("%s: a secret is on the command line of `%s`", d.file, code)
			}
		}
	}
}

// TestExposed tries what the test of the documents would find.
func TestExposed(t *testing.T) {
	for text, want := range map[string]int{
		"call x -H \"$AUTH\"\n":                                         1,
		"T=$(call x -u \"$ID:$SECRET\" -d y | field token)\n":           1,
		"call x \\\n  -d \"{\\\"password\\\": \\\"$(cat f)\\\"}\"\n":    1,
		"echo hello | tidegate connect ws://h --token \"$TOKEN\"\n":     1,
		"tidegate token App --revoke ey.x.y\n":                          1,
		"wscat -c ws://h -H \"Authorization: Bearer x\"\n":              1,
		"wscat -c ws://h?access_token=x\n":                              1,
		"echo hello | TIDEGATE_TOKEN=$TOKEN tidegate connect x\n":       0,
		"call x -K <(echo \"user = \\\"$ID:$SECRET\\\"\") -d y\n":       0,
		"call x -d @- <<EOF > out\n{\"password\": \"$(cat f)\"}\nEOF\n": 0,
		"tidegate connect x --token @FILE\n":                            0,
		"tidegate token App --revoke - < file\n":                        0,
		"TOKEN=$(tidegate token App)\n":                                 0,
		"echo \"Authorization: Bearer $TOKEN\" > auth\n":                0,
	} {
		if got := exposed(text); len(got) != want {
			t.Errorf("exposed(%q) = %q, want %d", text, got, want)
		}
	}
}
