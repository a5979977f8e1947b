// Shows tokens with the package ws: node places.mjs. The environment variable SOCKETS has what
// to open, in JSON: [{name, url, protocols, headers, first, servername}], with the name that is
// asked for in TLS. One line is printed for each: its name, the sub-protocol and the echo of "hello".
import WebSocket from 'ws';

const open = ({ url, protocols, headers, first, servername }) =>
  new Promise((resolve) => {
    const socket = new WebSocket(url, protocols ?? [], { headers, servername });
    socket.on('open', () => {
      if (first) socket.send(first);
      socket.send('hello');
    });
    socket.on('message', (data) => {
      resolve(`[${socket.protocol}] ${data}`);
      socket.close(1000);
    });
    socket.on('close', (code) => resolve(`closed ${code}`));
    socket.on('error', (error) => resolve(error.message));
  });

for (const socket of JSON.parse(process.env.SOCKETS)) console.log(`${socket.name}: ${await open(socket)}`);
