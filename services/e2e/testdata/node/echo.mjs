// Talks to an echo behind the gateway: node echo.mjs URL TOKEN
import WebSocket from 'ws';

const [url, token] = process.argv.slice(2);
const ws = new WebSocket(url, ['chat', 'other'], { headers: { Authorization: `Bearer ${token}` } });
const steps = [
  () => ws.send('hello'),
  () => ws.send(Buffer.from([0, 255])),
  () => {
    ws.send('one ', { fin: false });
    ws.send('two ', { fin: false });
    ws.send('three', { fin: true });
  },
];
const next = () => (steps.length > 0 ? steps.shift()() : ws.close(1000));
const names = ['text', 'binary', 'fragments'];

ws.on('open', next);
ws.on('message', (data, isBinary) => {
  console.log(names.shift(), data.toString(isBinary ? 'hex' : 'utf8'));
  next();
});
ws.on('close', (code) => {
  console.log('protocol', ws.protocol);
  console.log('closed', code);
});
ws.on('error', (error) => {
  console.log('error', error.message);
  process.exitCode = 1;
});
