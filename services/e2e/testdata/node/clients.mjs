// The clients of real applications, all in this process: node clients.mjs. The
// environment variable ADDRESSES has what each connects to, in JSON: {name: {url,
// token}}. One line is printed for each: its name and "ok", or what went wrong.
import { createRequire } from 'node:module';
import { io } from 'socket.io-client';
import ws from 'ws';
import mqtt from 'mqtt';
import * as undici from 'undici';

const require = createRequire(import.meta.url);
const { createClient } = require('graphql-ws');
const signalR = require('@microsoft/signalr');

const equal = (got, want) => {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`got ${a}, want ${b}`);
};

// once resolves with the arguments of an event, and rejects with that of another.
const once = (emitter, event, failure = 'error') =>
  new Promise((resolve, reject) => {
    emitter.once(event, (...args) => resolve(args));
    emitter.once(failure, reject);
  });

const withToken = ({ url, token }) => (token ? `${url}?access_token=${token}` : url);

// socket.io at its default path below an address, which is an address of a version, a
// context, or the gateway's own.
const socketIO = async ({ url, token }) => {
  const { host, pathname } = new URL(url);
  const socket = io(`ws://${host}`, {
    ...(pathname === '/' ? {} : { path: `${pathname}/socket.io/` }),
    transports: ['websocket'],
    reconnection: false,
    extraHeaders: token ? { Authorization: `Bearer ${token}` } : {},
  });
  await once(socket, 'connect', 'connect_error');
  equal(await socket.emitWithAck('echo', { a: ['b', 1] }), { a: ['b', 1] });
  const pushed = once(socket, 'pushed', 'disconnect');
  socket.emit('push', 'now');
  const [text, bytes] = await pushed;
  equal([text, [...bytes]], ['now', [1, 2, 3]]);
  socket.disconnect();
};

// socket.io as it is by default: it polls, and then moves to a socket.
const socketIOByDefault = async ({ url, token }) => {
  const { host, pathname } = new URL(url);
  const socket = io(`http://${host}`, { path: `${pathname}/socket.io/`, reconnection: false, extraHeaders: { Authorization: `Bearer ${token}` } });
  let began = '';
  const upgraded = new Promise((resolve) => socket.io.on('open', () => {
    began = socket.io.engine.transport.name;
    socket.io.engine.once('upgrade', resolve);
  }));
  await once(socket, 'connect', 'connect_error');
  equal(began, 'polling');
  equal(await socket.emitWithAck('echo', 'by either'), 'by either');
  equal((await upgraded).name, 'websocket');
  equal(await socket.emitWithAck('echo', 'by the socket'), 'by the socket');
  socket.disconnect();
};

// socket.io that never moves to a socket.
const socketIOPolling = async ({ url, token }) => {
  const { host, pathname } = new URL(url);
  const socket = io(`http://${host}`, {
    path: `${pathname}/socket.io/`, reconnection: false, transports: ['polling'], extraHeaders: { Authorization: `Bearer ${token}` },
  });
  await once(socket, 'connect', 'connect_error');
  equal(await socket.emitWithAck('echo', { a: ['b', 1] }), { a: ['b', 1] });
  const pushed = once(socket, 'pushed', 'disconnect');
  socket.emit('push', 'now');
  const [text, bytes] = await pushed;
  equal([text, [...bytes]], ['now', [1, 2, 3]]);
  socket.disconnect();
};

const graphQL = async (to) => {
  const client = createClient({ url: withToken(to), webSocketImpl: ws, lazy: false, retryAttempts: 0 });
  const all = (payload) =>
    new Promise((resolve, reject) => {
      const values = [];
      client.subscribe(payload, { next: ({ data }) => values.push(data), error: reject, complete: () => resolve(values) });
    });
  equal(await all({ query: '{ hello(name: "tide") }' }), [{ hello: 'hello tide' }]);
  equal(await all({ query: 'subscription { count(to: 3) }' }), [{ count: 1 }, { count: 2 }, { count: 3 }]);
  await client.dispose();
};

const overMQTT = async ({ url, token }) => {
  const client = mqtt.connect(url, { wsOptions: { headers: { Authorization: `Bearer ${token}` } }, reconnectPeriod: 0 });
  await once(client, 'connect');
  await client.subscribeAsync('tide/#', { qos: 1 });
  const arrived = once(client, 'message');
  await client.publishAsync('tide/high', 'at noon', { qos: 1 });
  const [topic, payload] = await arrived;
  equal([topic, payload.toString()], ['tide/high', 'at noon']);
  await client.endAsync();
};

// The client of SignalR sends a token of the backend's own.
const signalRHub = async ({ url, foreign }) => {
  const connection = new signalR.HubConnectionBuilder()
    .withUrl(url.replace(/^ws/, 'http'), {
      skipNegotiation: true,
      transport: signalR.HttpTransportType.WebSockets,
      accessTokenFactory: foreign ? () => foreign : undefined,
    })
    .configureLogging(signalR.LogLevel.None)
    .build();
  await connection.start();
  equal(await connection.invoke('Echo', { a: 1 }), { a: 1 });
  if (foreign) equal(await connection.invoke('WhoAmI'), `Bearer ${foreign}`);
  const received = new Promise((resolve) => connection.on('received', resolve));
  await connection.send('Broadcast', 'to all');
  equal(await received, 'to all');
  const items = [];
  await new Promise((complete, error) => connection.stream('Count', 3).subscribe({ next: (n) => items.push(n), complete, error }));
  equal(items, [1, 2, 3]);
  await connection.stop();
};

// SignalR as it is by default: it negotiates, and takes the first transport that there is, or
// the one that it is told to take. It shows the gateway's token in all requests.
const signalRBy = (transport, want) => async ({ url, token }) => {
  const connection = new signalR.HubConnectionBuilder()
    .withUrl(url.replace(/^ws/, 'http'), { ...(transport ? { transport } : {}), accessTokenFactory: () => token })
    .configureLogging(signalR.LogLevel.None)
    .build();
  await connection.start();
  equal(await connection.invoke('Transport'), want);
  equal(await connection.invoke('Echo', { a: 1 }), { a: 1 });
  equal(await connection.invoke('WhoAmI'), 'nobody');
  const received = new Promise((resolve) => connection.on('received', resolve));
  await connection.send('Broadcast', 'to all');
  equal(await received, 'to all');
  const items = [];
  await new Promise((complete, error) => connection.stream('Count', 3).subscribe({ next: (n) => items.push(n), complete, error }));
  equal(items, [1, 2, 3]);
  await connection.stop();
};

// Action Cable is made for browsers, of which it needs little.
const actionCable = async (to) => {
  globalThis.addEventListener ??= () => {};
  globalThis.removeEventListener ??= () => {};
  globalThis.document ??= { visibilityState: 'visible' };
  const { createConsumer, adapters } = await import('@rails/actioncable');
  adapters.WebSocket = ws;
  const consumer = createConsumer(withToken(to));
  const received = await new Promise((resolve, reject) => {
    const channel = consumer.subscriptions.create('EchoChannel', {
      connected: () => channel.send({ tide: 'high' }),
      received: resolve,
      rejected: () => reject(new Error('rejected')),
    });
  });
  equal(received, { tide: 'high' });
  consumer.disconnect();
};

// Node's own WebSocket; where Node has none yet it is that of undici, which is the
// same code.
const nodeOwn = async (to) => {
  const WebSocket = globalThis.WebSocket ?? undici.WebSocket;
  const socket = new WebSocket(withToken(to), ['one', 'two']);
  const event = (name) =>
    new Promise((resolve, reject) => {
      socket.addEventListener(name, resolve, { once: true });
      socket.addEventListener('error', () => reject(new Error('the connection failed')), { once: true });
    });
  socket.binaryType = 'arraybuffer';
  await event('open');
  equal(socket.protocol, 'one');
  socket.send('hello');
  equal((await event('message')).data, 'hello');
  socket.send(new Uint8Array([0, 255]));
  equal([...new Uint8Array((await event('message')).data)], [0, 255]);
  socket.send('close');
  const { code, reason } = await event('close');
  equal([code, reason], [4321, 'as you said']);
};

const clients = {
  'socket.io': socketIO,
  'socket.io, default path': socketIO,
  'socket.io, default version': socketIO,
  'graphql-ws': graphQL,
  mqtt: overMQTT,
  'socket.io, by default': socketIOByDefault,
  'socket.io, polling': socketIOPolling,
  'signalr, by default': signalRBy(undefined, 'webSockets'),
  'signalr, server-sent events': signalRBy(signalR.HttpTransportType.ServerSentEvents, 'serverSentEvents'),
  'signalr, long polling': signalRBy(signalR.HttpTransportType.LongPolling, 'longPolling'),
  signalr: signalRHub,
  'signalr, token of its own': signalRHub,
  actioncable: actionCable,
  'node WebSocket': nodeOwn,
};
const patience = 20_000;
const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error(`nothing within ${patience} ms`)), patience).unref());
process.on('unhandledRejection', (error) => console.log('unhandled:', error));
await Promise.all(
  Object.entries(JSON.parse(process.env.ADDRESSES)).map(async ([name, to]) => {
    try {
      await Promise.race([clients[name](to), late()]);
      console.log(`${name}: ok`);
    } catch (error) {
      console.log(`${name}: ${error?.message ?? error?.reason ?? JSON.stringify(error)}`);
    }
  }),
);
process.exit(0);
