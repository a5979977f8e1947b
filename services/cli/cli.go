// Package cli is Tidegate's command line: commands for users, over the public gRPC
// API, and commands that need no server. Each noun has its file. The server itself is
// started by a function that the caller passes in.
package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is what the command line is started with.
type Program struct {
	// Args are the arguments after the program's name.
	Args []string
	// Env is the environment, KEY=value.
	Env []string
	// Stdin is read by connect and for passwords.
	Stdin io.Reader
	// Stdout receives results, Stderr everything else.
	Stdout, Stderr io.Writer
	// Serve starts the server with the arguments after "serve" and returns its
	// exit code; nil where the server does not run.
	Serve func(ctx context.Context, args []string) int
	// Recover lets an administrator sign in again, by a change of the database; nil
	// where the server does not run.
	Recover func(ctx context.Context, r Recovery) error
	// Version is what the command version prints.
	Version string
}

// env returns a variable of the environment, or "".
func (p Program) env(name string) string {
	for _, kv := range p.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// global has the flags of every command.
type global struct {
	Server  string        `placeholder:"HOST:PORT" help:"The server's gRPC address. Default: that of the last sign-in or of tidegate server use, or localhost:9090 ($$TIDEGATE_SERVER)."`
	CA      string        `placeholder:"FILE" help:"PEM file of the certificate authority to trust. Default: that given at the sign-in, else tidegate-data/ca.pem if it exists, else the system's ($$TIDEGATE_CA)."`
	Home    string        `placeholder:"DIR" help:"Folder for the sign-in and secrets. Default: tidegate in the user's configuration folder ($$TIDEGATE_HOME)."`
	Output  string        `short:"o" enum:"table,json,yaml,csv" default:"table" help:"Output format: table, json or yaml for the whole object, errors included, or csv for usage and quotas."`
	Timeout time.Duration `default:"30s" help:"How long a command may take."`
}

// grammar is the whole command line.
type grammar struct {
	global `embed:""`

	Serve serveCmd `cmd:"" passthrough:"" help:"Start the server (Linux and macOS), all services in one process. tidegate serve -help lists its flags."`

	Login   loginCmd   `cmd:"" help:"Sign in."`
	Logout  logoutCmd  `cmd:"" help:"Sign out."`
	Whoami  whoamiCmd  `cmd:"" help:"Show who is signed in."`
	Servers serverCmds `cmd:"" name:"server" help:"Servers that you have signed in to."`

	API          apiCmds          `cmd:"" name:"api" help:"APIs and their versions."`
	Plan         planCmds         `cmd:"" help:"Plans."`
	Deny         denyCmds         `cmd:"" help:"Deny rules, which keep clients out."`
	App          appCmds          `cmd:"" help:"Applications."`
	Subscribe    subscribeCmd     `cmd:"" help:"Subscribe an application to a version of an API."`
	Subscription subscriptionCmds `cmd:"" help:"Subscriptions."`
	OAuthClient  oauthClientCmds  `cmd:"" name:"oauth-client" help:"OAuth clients of an application: a client_id and secrets (WSO2 API Manager: consumer key and consumer secret)."`
	APIKey       apiKeyCmds       `cmd:"" name:"apikey" help:"API keys of an application, which clients send as they are."`
	Token        tokenCmd         `cmd:"" help:"Get an access token of an application, or revoke one."`
	Revoke       revokeCmd        `cmd:"" help:"Revoke credentials that were issued until now, and close their live sessions."`
	Ticket       ticketCmd        `cmd:"" help:"Buy a ticket, which opens one session within seconds, with a token of an application."`
	Connect      connectCmd       `cmd:"" help:"Connect to an API: send the lines of the input, print the messages that come."`

	Open    openCmd        `cmd:"" help:"Open the portal's pages in a browser."`
	Session sessionCmds    `cmd:"" help:"Live sessions."`
	Gateway gatewayCmds    `cmd:"" help:"Gateways."`
	Service serviceCmds    `cmd:"" help:"Services and who watches them."`
	Change  changeCmds     `cmd:"" help:"Changes: who did what (the audit log)."`
	Events  securityCmds   `cmd:"" name:"security-event" help:"Security events: who got in, who did not, and who changed what others may do (the security log)."`
	Record  recordCmds     `cmd:"" help:"Records of ended sessions."`
	Usage   usageCmd       `cmd:"" help:"What passed through gateways, was held back and was refused."`
	Quota   quotaCmds      `cmd:"" help:"What is left of quotas."`
	User    userCmds       `cmd:"" help:"Users."`
	SignIn  signInCmds     `cmd:"" name:"sign-in" help:"Sign-ins of users."`
	Keys    signingKeyCmds `cmd:"" name:"signing-key" help:"Keys that access tokens, and what backends are told about clients, are signed with."`
	Admin   adminCmds      `cmd:"" help:"What needs the database instead of a server."`

	Certs      certsCmd      `cmd:"" help:"Create a certificate authority, and a certificate and key for each service."`
	Completion completionCmd `cmd:"" help:"Print a script that completes command lines in bash, zsh or fish."`
	Complete   completeCmd   `cmd:"" name:"__complete" hidden:"" passthrough:""`
	Version    versionCmd    `cmd:"" help:"Show the version."`
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// usagef returns a usageError.
func usagef(format string, a ...any) error {
	return &usageError{text: fmt.Sprintf(format, a...)}
}

// exitError is the exit code of a command that has printed its own errors.
type exitError struct{ code int }

// Error names the exit code.
func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exited is what help panics with, because kong goes on parsing when its exit
// function returns.
type exited int

// Main runs one command and returns its exit code: 0 on success, 1 when it was
// refused or failed, 2 when the command line is wrong. Every failure is one line on
// Stderr, or with --output json or yaml a google.rpc.Status.
func Main(ctx context.Context, p Program) (code int) {
	defer func() {
		if e := recover(); e != nil {
			stop, ok := e.(exited)
			if !ok {
				panic(e)
			}
			code = int(stop)
		}
	}()
	var g grammar
	parser, err := kong.New(&g,
		kong.Name("tidegate"),
		kong.Description("Tidegate manages WebSocket APIs. Start it with: tidegate serve"),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Resolvers(environment(p)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(durations)),
	)
	if err != nil {
		fmt.Fprintf(p.Stderr, "tidegate: %v\n", err)
		return exitFailed
	}
	cmd, err := parser.Parse(habits(p.Args))
	if group := groupAlone(err); group != nil && formatOf(p.Args) == formatTable {
		return shown(p, group.PrintUsage(false))
	}
	if err != nil {
		return report(p, formatOf(p.Args), commandOf(err), mistake(err, commandOf(err)))
	}
	s := &shell{Program: p, global: &g.global}
	defer s.close()
	if name := commandName(cmd.Command()); g.Output == formatCSV && !slices.Contains(csvCommands(), name) {
		return report(p, g.Output, name, usagef("--output: csv is for %s; give table, json or yaml", strings.Join(csvCommands(), ", ")))
	}
	ctx, cancel := s.deadline(ctx, cmd.Command())
	defer cancel()
	cmd.BindTo(ctx, (*context.Context)(nil))
	cmd.Bind(parser)
	if err := cmd.Run(s); err != nil {
		return report(p, g.Output, commandName(cmd.Command()), s.explain(err))
	}
	s.waitApplied(ctx)
	return exitOK
}

// habits translates what users type out of habit, such as -version.
func habits(args []string) []string {
	if len(args) == 0 {
		return []string{"--help"}
	}
	switch args[0] {
	case "help":
		return append(args[1:len(args):len(args)], "--help")
	case "-version", "--version":
		return []string{"version"}
	case "-help":
		return []string{"--help"}
	}
	return args
}

// variables returns, by flag, the environment variables that set missing flags.
func variables() map[string]string {
	return map[string]string{
		"server": "TIDEGATE_SERVER", "ca": "TIDEGATE_CA", "home": "TIDEGATE_HOME", "token": "TIDEGATE_TOKEN", "secret": "TIDEGATE_CLIENT_SECRET",
		"portal": "TIDEGATE_PORTAL", "key": "TIDEGATE_API_KEY",
	}
}

// Variables returns the names of all environment variables that the command line
// reads.
func Variables() []string {
	return append(slices.Sorted(maps.Values(variables())), newPassword)
}

// environment sets missing flags from environment variables.
func environment(p Program) kong.Resolver {
	variables := variables()
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if v := p.env(variables[flag.Name]); v != "" {
			return v, nil
		}
		return nil, nil
	})
}

// report prints the error of a command, in one line or as a whole object, and returns
// its exit code.
func report(p Program, format, command string, err error) int {
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	if format == formatTable || format == formatCSV || printFailure(p.Stderr, format, err) != nil {
		if command != "" {
			command += ": "
		}
		fmt.Fprintf(p.Stderr, "tidegate: %s%s\n", command, oneLine(err.Error()))
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// formatOf returns the output format that a command line asks for. It is for one that
// cannot be parsed.
func formatOf(args []string) string {
	for i, arg := range args {
		value, ok := strings.CutPrefix(arg, "--output=")
		switch {
		case ok:
		case arg == "--output" || arg == "-o":
			value = strings.Join(args[i+1:min(i+2, len(args))], "")
		default:
			value, _ = strings.CutPrefix(arg, "-o")
			value = strings.TrimPrefix(value, "=")
		}
		if arg != value && (value == formatJSON || value == formatYAML) {
			return value
		}
	}
	return formatTable
}

// shown returns the exit code of a command line that was answered with help.
func shown(p Program, err error) int {
	if err != nil {
		fmt.Fprintf(p.Stderr, "tidegate: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// commandOf returns the command in which parsing failed.
func commandOf(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil || parse.Context.Selected() == nil {
		return ""
	}
	return commandName(strings.TrimPrefix(parse.Context.Selected().FullPath(), "tidegate "))
}

// commandName strips the arguments that kong puts behind a command.
func commandName(path string) string {
	name, _, _ := strings.Cut(path, " <")
	name, _, _ = strings.Cut(name, " [")
	return name
}

// oneLine joins lines with semicolons.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// shell is what a command works with.
type shell struct {
	Program
	global *global
	client *client
	lines  *bufio.Reader // of Stdin, made by input

	patience *patience     // nil where a command may take for ever
	took     []string      // what a destructive command took along, if it did not ask
	change   *planChange   // what a request says of a plan; nil where it says nothing
	file     *resourceFile // what a request is from; nil for flags alone
}

// deadline returns the context of a command. --timeout applies to all but those that
// run until they are stopped or wait for a password.
func (s *shell) deadline(ctx context.Context, command string) (context.Context, context.CancelFunc) {
	switch commandName(command) {
	case "serve", "connect", "login":
		return context.WithCancel(ctx)
	}
	var cancel context.CancelFunc
	s.patience, cancel = newPatience(ctx, s.global.Timeout)
	return s.patience, cancel
}

// close ends the connection.
func (s *shell) close() {
	if s.client != nil {
		s.client.conn.Close()
	}
}

// store returns where sign-ins are kept.
func (s *shell) store() (*store, error) {
	if s.global.Home != "" {
		return &store{dir: s.global.Home}, nil
	}
	if dir := s.env("XDG_CONFIG_HOME"); dir != "" {
		return &store{dir: filepath.Join(dir, "tidegate")}, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("no folder for the sign-in: %w; give --home", err)
	}
	return &store{dir: filepath.Join(dir, "tidegate")}, nil
}

// note tells people something that is not a result; programs, which ask for whole
// objects, are not told.
func (s *shell) note(format string, a ...any) {
	if s.global.Output == formatTable {
		fmt.Fprintf(s.Stderr, format+"\n", a...)
	}
}

// warn tells everybody something that is not a result.
func (s *shell) warn(format string, a ...any) {
	fmt.Fprintf(s.Stderr, "tidegate: "+format+"\n", a...)
}

// serveCmd starts the server.
type serveCmd struct {
	Args []string `arg:"" optional:"" help:"Flags of the server."`
}

// Run runs the server until ctx ends.
func (c *serveCmd) Run(ctx context.Context, s *shell) error {
	if s.Serve == nil {
		return fmt.Errorf("the server needs Linux or macOS, and this is %s; every other command works here", runtime.GOOS)
	}
	if code := s.Serve(ctx, c.Args); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// versionCmd shows the version.
type versionCmd struct{}

// Run prints the version.
func (c *versionCmd) Run(s *shell) error {
	if s.whole() {
		return s.printValue(map[string]string{"version": s.Version})
	}
	_, err := fmt.Fprintln(s.Stdout, "tidegate", s.Version)
	return err
}
