import { WebSocket, type ClientOptions } from "ws";

/**
 * Sends a message through the gateway and returns the answer. In Node, package ws
 * sends the token in a header; browsers cannot, so there the token goes into the
 * address: new WebSocket(`${address}?access_token=${token}`).
 */
export async function talk(address: string, token: string, message: string, tls: ClientOptions = {}): Promise<string> {
  const socket = new WebSocket(address, { ...tls, headers: { Authorization: `Bearer ${token}` } });
  const answer = await new Promise<string>((resolve, reject) => {
    socket.on("open", () => socket.send(message));
    socket.on("message", (data) => resolve(data.toString()));
    socket.on("close", (code, reason) => reject(new Error(`closed: ${code} ${reason}`)));
    socket.on("error", reject);
  });
  socket.close(1000);
  return answer;
}
