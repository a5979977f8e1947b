import WebSocket from "ws";

const ADDRESS = {{quoted .Address}};
{{- if .Needs}}
const TOKENS = {{quoted .Tokens}};
{{- end}}
const SHORTEST = 1000, LONGEST = 60000; // milliseconds between attempts
let {{if .Needs}}token = "", {{end}}attempts = 0;
{{- if .Needs}}

async function newToken() {
  const { CLIENT_ID, CLIENT_SECRET } = process.env;
  const answer = await fetch(TOKENS, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials", resource: ADDRESS, client_id: CLIENT_ID, client_secret: CLIENT_SECRET,
    }),
  });
  if (!answer.ok) throw new Error("no token: " + (await answer.text()));
  return (await answer.json()).access_token;
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
    {{- if .Needs}}
    if (code === 4001 || !opened) token = ""; // it may be why the handshake was refused
    {{- end}}
    if (opened && Date.now() - opened > LONGEST) attempts = 0;
    const wait = waitAfter(code, reason);
    console.log("closed:", code, reason);
    if (wait !== undefined) setTimeout(connect, wait);
  };
  {{- if .Needs}}
  try {
    token ||= await newToken();
  } catch (error) {
    return again(1006, error.message);
  }
  {{- end}}
  {{- if not .Needs}}
  const socket = new WebSocket(ADDRESS);
  {{- else if .Header}}
  const socket = new WebSocket(ADDRESS, { headers: { {{quoted .Header}}: `{{.Word}}${token}` } });
  {{- else if .First}}
  const socket = new WebSocket(ADDRESS);
  {{- else if not .Query}}
  const socket = new WebSocket(ADDRESS, ["bearer", token]);
  {{- else}}
  const socket = new WebSocket(`${ADDRESS}?{{.Query}}=${encodeURIComponent({{if .Base64}}Buffer.from(token).toString("base64"){{else}}token{{end}})}`);
  {{- end}}
  socket.on("open", () => {
    opened = Date.now();
    {{- if and .First (not .Header)}}
    socket.send({{with .Before}}{{quoted .}} + {{end}}token{{with .After}} + {{quoted .}}{{end}});
    {{- end}}
    socket.send("hello");
  });
  socket.on("message", (data) => console.log(String(data)));
  socket.on("error", (error) => console.error(error.message)); // a close follows
  socket.on("close", (code, reason) => again(code, String(reason)));
}

connect();
