package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/quote"
)

// ticketCmd buys a ticket of a version at its gateway.
type ticketCmd struct {
	Address  string        `arg:"" help:"The version, such as EchoWebSocket/1.0.0, which lists the place ticket; or its ws:// or wss:// URL."`
	Token    string        `placeholder:"@FILE" help:"Access token to buy with: @FILE, or - for the first line of standard input ($$TIDEGATE_TOKEN)."`
	Key      string        `placeholder:"@FILE" help:"API key to buy it with, instead of a token: @FILE, or - for the first line of standard input ($$TIDEGATE_API_KEY)."`
	App      string        `placeholder:"APP" help:"Get a token for this application, whose OAuth client was created on this machine."`
	Sandbox  bool          `help:"With --app: get a token for the sandbox endpoint."`
	Portal   string        `placeholder:"URL" help:"With --app: the portal's URL. Default: the server's issuer ($$TIDEGATE_PORTAL)."`
	Lifetime time.Duration `default:"30s" placeholder:"DURATION" help:"How long the ticket is good, 1s to 2m. Default: 30s."`
	Origin   string        `placeholder:"ORIGIN" help:"The one Origin that the handshake may have, such as https://app.example.com. Default: any that the version takes."`
	Client   string        `placeholder:"ADDRESS" help:"Address or network that the client must have, such as 203.0.113.7 or 2001:db8::/64. Default: any."`
}

// Bounds of how long a ticket is good.
const minTicket, maxTicket = time.Second, 2 * time.Minute

// boughtTicket is what a gateway answers, and where the ticket is spent.
type boughtTicket struct {
	Ticket     string    `json:"ticket"`
	ExpireTime time.Time `json:"expireTime"`
	Ref        string    `json:"ref"`
	Address    string    `json:"address"`
}

// Run buys the ticket and prints it.
func (c *ticketCmd) Run(ctx context.Context, s *shell) error {
	if c.Lifetime < minTicket || c.Lifetime > maxTicket || c.Lifetime%time.Second != 0 {
		return usagef("--lifetime: %v is not between %v and %v, in whole seconds", c.Lifetime, minTicket, maxTicket)
	}
	connect := connectCmd{Address: c.Address, Token: c.Token, Key: c.Key, App: c.App, Sandbox: c.Sandbox, Portal: c.Portal}
	target, err := connect.target(ctx, s)
	if err != nil {
		return err
	}
	shown, err := connect.shown(ctx, s)
	if err != nil {
		return err
	}
	bought, err := c.buy(ctx, s, target, shown)
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printValue(bought)
	}
	s.note("The ticket opens one session until %s, with the ref %s; spend it with: tidegate connect %s --ticket @FILE",
		bought.ExpireTime.Local().Format(time.RFC3339), cell(bought.Ref), quote.Word(c.Address))
	_, err = fmt.Fprintln(s.Stdout, cell(bought.Ticket))
	return err
}

// buy buys the ticket at the gateway of an address.
func (c *ticketCmd) buy(ctx context.Context, s *shell, target *url.URL, buyer credential) (*boughtTicket, error) {
	asked := url.Values{"path": {target.EscapedPath()}, "lifetime": {strconv.Itoa(int(c.Lifetime / time.Second))}}
	if c.Origin != "" {
		asked.Set("origin", c.Origin)
	}
	if c.Client != "" {
		asked.Set("client", c.Client)
	}
	bought := &boughtTicket{}
	if err := s.atGateway(ctx, target, "/-/tickets", asked, buyer, bought); err != nil {
		return nil, err
	}
	if bought.Ticket == "" {
		return nil, fmt.Errorf("the gateway of %s did not answer with a ticket", target.Host)
	}
	with := *target
	addParameter(&with, "ticket", bought.Ticket)
	bought.Address = with.String()
	return bought, nil
}
