// What a page has beside: a WebSocket, and a server of its own that gets tokens.
import "./prelude.mjs";
import WebSocket from "ws";

globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    super(address);
    this.on("error", () => {}); // which browsers do not throw
  }
};
const ask = globalThis.fetch;
globalThis.fetch = async (path) => {
  if (path !== "/token") throw new Error("the page asks for " + path);
  const { TOKENS, CLIENT_ID, CLIENT_SECRET } = process.env;
  const answer = await ask(TOKENS, {
    method: "POST", body: new URLSearchParams({ grant_type: "client_credentials", client_id: CLIENT_ID, client_secret: CLIENT_SECRET }),
  });
  return new Response((await answer.json()).access_token, { status: answer.status });
};
