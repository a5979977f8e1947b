const ADDRESS = {{quoted .Address}};
const SHORTEST = 1000, LONGEST = 60000; // milliseconds between attempts
let {{if and .Needs (not .Ticket)}}token = "", {{end}}attempts = 0;
{{- if .Ticket}}

// No page is to have a token, which is good for more than one connection: your own server,
// which has one and knows who is signed in, buys a ticket at the gateway, with
// POST /-/tickets, and hands that to the page.
async function newTicket() {
  const answer = await fetch("/ticket");
  if (!answer.ok) throw new Error("no ticket: " + answer.status);
  return answer.text();
}
{{- else if .Needs}}

// No page can keep the secret of an OAuth client: your own server, which knows who is
// signed in, asks for the token and hands it to the page.
async function newToken() {
  const answer = await fetch("/token");
  if (!answer.ok) throw new Error("no token: " + answer.status);
  return answer.text();
}
{{- end}}

// How long to wait before the next attempt; none where there shall be no other.
function waitAfter(code, reason) {
  const hint = /retry=(\d+)ms/.exec(reason);
  if (code === 1000 || code === 4006) return; // done, or blocked
  if (code === 4003 && !hint) return; // another connection of ours has taken the place
  if (hint && (code === 4003 || code === 1012)) return Number(hint[1]);
  return Math.random() * Math.min(LONGEST, SHORTEST * 2 ** attempts++);
}

{{if .Needs}}async {{end}}function connect() {
  let opened = 0;
  const again = (code, reason) => {
    {{- if and .Needs (not .Ticket)}}
    // To a page a handshake that was refused is 1006, too, and the token may be why.
    if (code === 4001 || !opened) token = "";
    {{- end}}
    if (opened && Date.now() - opened > LONGEST) attempts = 0;
    const wait = waitAfter(code, reason);
    console.log("closed:", code, reason);
    if (wait !== undefined) setTimeout(connect, wait);
  };
  {{- if .Ticket}}
  let ticket;
  try {
    ticket = await newTicket();
  } catch (error) {
    return again(1006, error.message);
  }
  const socket = new WebSocket(ADDRESS + "?ticket=" + encodeURIComponent(ticket));
  {{- else if .Needs}}
  try {
    token ||= await newToken();
  } catch (error) {
    return again(1006, error.message);
  }
  {{- if .Query}}
  const socket = new WebSocket(ADDRESS + "?{{.Query}}=" + encodeURIComponent({{if .Base64}}btoa(token){{else}}token{{end}}));
  {{- else if .First}}
  const socket = new WebSocket(ADDRESS);
  {{- else}}
  const socket = new WebSocket(ADDRESS, ["bearer", token]);
  {{- end}}
  {{- else}}
  const socket = new WebSocket(ADDRESS);
  {{- end}}
  socket.onopen = () => {
    opened = Date.now();
    {{- if and .First (not .Ticket)}}
    socket.send({{with .Before}}{{quoted .}} + {{end}}token{{with .After}} + {{quoted .}}{{end}});
    {{- end}}
    socket.send("hello");
  };
  socket.onmessage = (event) => console.log(event.data);
  socket.onclose = (event) => again(event.code, event.reason);
}

connect();
