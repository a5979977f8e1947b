// The servers of real applications, all in this process: node applications.mjs.
// The first line of the output has their ports, in JSON; the process ends when its
// standard input does.
import http from 'node:http';
import { createRequire } from 'node:module';
import { Server as SocketIO } from 'socket.io';
import { WebSocketServer, createWebSocketStream } from 'ws';
import { buildSchema } from 'graphql';

const require = createRequire(import.meta.url);
const { useServer } = require('graphql-ws/lib/use/ws');
const aedes = require('aedes');

// serve starts an HTTP server on loopback and returns it with its port.
const serve = async (attach) => {
  const server = http.createServer((request, response) => response.writeHead(404).end());
  await attach(server);
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server.address().port;
};

const socketIO = (server) => {
  new SocketIO(server).on('connection', (socket) => {
    socket.on('echo', (value, answer) => answer(value));
    socket.on('push', (value) => socket.emit('pushed', value, Buffer.from([1, 2, 3])));
  });
};

const graphQL = (server) => {
  const schema = buildSchema(`
    type Query { hello(name: String!): String }
    type Subscription { count(to: Int!): Int }
  `);
  const roots = {
    query: { hello: ({ name }) => `hello ${name}` },
    subscription: {
      count: async function* ({ to }) {
        for (let n = 1; n <= to; n++) yield { count: n };
      },
    },
  };
  useServer({ schema, roots }, new WebSocketServer({ server }));
};

const mqtt = (server) => {
  const broker = aedes();
  new WebSocketServer({ server }).on('connection', (socket, request) => {
    broker.handle(createWebSocketStream(socket), request);
  });
};

// A hub of SignalR that speaks its JSON protocol: records end with the byte 0x1e.
const signalR = (server) => {
  new WebSocketServer({ server }).on('connection', (socket, request) => {
    const send = (record) => socket.send(JSON.stringify(record) + '\x1e');
    let shaken = false;
    const call = ({ type, invocationId, target, arguments: args }) => {
      if (type === 1 && target === 'Echo') send({ type: 3, invocationId, result: args[0] });
      if (type === 1 && target === 'WhoAmI') send({ type: 3, invocationId, result: request.headers.authorization ?? 'nobody' });
      if (type === 1 && target === 'Broadcast') send({ type: 1, target: 'received', arguments: args });
      if (type === 4 && target === 'Count') {
        for (let n = 1; n <= args[0]; n++) send({ type: 2, invocationId, item: n });
        send({ type: 3, invocationId });
      }
      if (type === 7) socket.close(1000);
    };
    socket.on('message', (data) => {
      for (const text of data.toString().split('\x1e').filter(Boolean)) {
        if (!shaken) {
          const { protocol, version } = JSON.parse(text);
          socket.send((protocol === 'json' && version === 1 ? '{}' : '{"error":"json, version 1"}') + '\x1e');
          shaken = true;
          continue;
        }
        call(JSON.parse(text));
      }
    });
  });
};

// What Action Cable answers a client, with one channel that echoes.
const actionCable = (server) => {
  const handleProtocols = (offered) => offered.has('actioncable-v1-json') && 'actioncable-v1-json';
  new WebSocketServer({ server, handleProtocols }).on('connection', (socket) => {
    const send = (message) => socket.send(JSON.stringify(message));
    send({ type: 'welcome' });
    socket.on('message', (text) => {
      const { command, identifier, data } = JSON.parse(text);
      if (command === 'subscribe') send({ type: 'confirm_subscription', identifier });
      if (command === 'message') send({ identifier, message: JSON.parse(data) });
    });
  });
};

// An echo that closes with a code of its own when it is told so.
const echo = (server) => {
  new WebSocketServer({ server, handleProtocols: (offered) => [...offered][0] }).on('connection', (socket) => {
    socket.on('message', (data, isBinary) => {
      if (data.toString() === 'close') return socket.close(4321, 'as you said');
      return socket.send(data, { binary: isBinary });
    });
  });
};

const servers = { socketio: socketIO, graphql: graphQL, mqtt, signalr: signalR, actioncable: actionCable, echo };
const ports = {};
for (const [name, attach] of Object.entries(servers)) ports[name] = await serve(attach);
console.log(JSON.stringify(ports));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
