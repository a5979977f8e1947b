// The servers of real applications, all in this process: node applications.mjs.
// The first line of the output has their ports, in JSON; the process ends when its
// standard input does.
import http from 'node:http';
import { randomUUID } from 'node:crypto';
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

// A hub of SignalR that speaks its JSON protocol: records end with the byte 0x1e. It is
// negotiated about and reached as Microsoft's transport protocol says: by WebSocket, by
// server-sent events, or by long polling, where clients send by POST.
const signalR = (server) => {
  const connections = new Map(); // by token, those that were negotiated about
  const hub = (authorization, out) => {
    const send = (record) => out.send(JSON.stringify(record) + '\x1e');
    let shaken = false;
    const call = ({ type, invocationId, target, arguments: args }) => {
      if (type === 1 && target === 'Echo') send({ type: 3, invocationId, result: args[0] });
      if (type === 1 && target === 'WhoAmI') send({ type: 3, invocationId, result: authorization ?? 'nobody' });
      if (type === 1 && target === 'Transport') send({ type: 3, invocationId, result: out.transport });
      if (type === 1 && target === 'Broadcast') send({ type: 1, target: 'received', arguments: args });
      if (type === 4 && target === 'Count') {
        for (let n = 1; n <= args[0]; n++) send({ type: 2, invocationId, item: n });
        send({ type: 3, invocationId });
      }
      if (type === 7) out.close();
    };
    return (data) => {
      for (const text of data.toString().split('\x1e').filter(Boolean)) {
        if (!shaken) {
          const { protocol, version } = JSON.parse(text);
          out.send((protocol === 'json' && version === 1 ? '{}' : '{"error":"json, version 1"}') + '\x1e');
          shaken = true;
          continue;
        }
        call(JSON.parse(text));
      }
    };
  };
  new WebSocketServer({ server }).on('connection', (socket, request) => {
    const out = { transport: 'webSockets', send: (text) => socket.send(text), close: () => socket.close(1000) };
    socket.on('message', hub(request.headers.authorization, out));
  });
  const negotiate = (response) => {
    const connectionToken = randomUUID();
    connections.set(connectionToken, { waiting: '' });
    const transport = (name, ...transferFormats) => ({ transport: name, transferFormats });
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify({
      negotiateVersion: 1, connectionId: randomUUID(), connectionToken,
      availableTransports: [transport('WebSockets', 'Text', 'Binary'), transport('ServerSentEvents', 'Text'), transport('LongPolling', 'Text', 'Binary')],
    }));
  };
  const events = (connection, request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' }).flushHeaders();
    const send = (text) => response.write(`data: ${text}\r\n\r\n`);
    connection.receive = hub(request.headers.authorization, { transport: 'serverSentEvents', send, close: () => response.end() });
  };
  const poll = (connection, request, response) => {
    const flush = () => {
      if (!connection.polling || (!connection.waiting && !connection.closed)) return;
      connection.polling.writeHead(connection.waiting ? 200 : 204, { 'Content-Type': 'text/plain' }).end(connection.waiting);
      connection.polling = undefined;
      connection.waiting = '';
    };
    if (!connection.receive) { // the first poll is answered at once
      const send = (text) => {
        connection.waiting += text;
        flush();
      };
      const close = () => {
        connection.closed = true;
        flush();
      };
      connection.receive = hub(request.headers.authorization, { transport: 'longPolling', send, close });
      connection.close = close;
      response.writeHead(200).end();
      return;
    }
    connection.polling = response;
    flush();
  };
  server.removeAllListeners('request').on('request', async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://hub');
    if (request.method === 'POST' && pathname.endsWith('/negotiate')) return negotiate(response);
    const connection = connections.get(searchParams.get('id'));
    if (!connection) return response.writeHead(404).end();
    if (request.method === 'GET') return (request.headers.accept?.includes('text/event-stream') ? events : poll)(connection, request, response);
    let body = '';
    for await (const part of request) body += part;
    if (request.method === 'POST') connection.receive(body);
    if (request.method === 'DELETE') connection.close?.();
    return response.writeHead(request.method === 'DELETE' ? 202 : 200).end();
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
