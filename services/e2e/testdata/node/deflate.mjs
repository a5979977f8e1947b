// Talks to an echo behind the gateway with permessage-deflate and the package ws. node deflate.mjs
// serve is the echo: it prints its port, and ends with its input. node deflate.mjs URL sends
// similar texts until some were dropped and some came after that, and says what came.
import WebSocket, { WebSocketServer } from 'ws';

const [url] = process.argv.slice(2);
const perMessageDeflate = { threshold: 0 };

if (url === 'serve') {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate });
  server.on('connection', (socket) => socket.on('message', (data) => socket.send(data.toString())));
  server.on('listening', () => console.log(server.address().port));
  process.stdin.on('end', () => process.exit()).resume();
} else {
  const socket = new WebSocket(url, { perMessageDeflate });
  let sent = 0;
  let next = 0;
  let dropped = 0;
  let after = 0;
  const text = (n) => `message ${n}: ` + 'the same in all of them '.repeat(100);
  const send = () => {
    for (let i = 0; i < 5; i++) socket.send(text(sent++));
  };
  socket.on('open', send);
  socket.on('message', (data) => {
    if (data.toString().startsWith('{"error"')) {
      dropped += JSON.parse(data).error.dropped;
    } else {
      while (next < sent && text(next) !== data.toString()) next++;
      if (next++ === sent) throw new Error(`garbled: ${data}`);
      if (dropped > 0) after++;
    }
    if (after > 3) socket.close(1000);
  });
  const timer = setInterval(send, 50);
  socket.on('close', (code) => {
    clearInterval(timer);
    console.log(`${socket.extensions}: some dropped, others as they were sent, closed ${code}`);
  });
}
