// graphql-transport-ws, sentence by sentence of the PROTOCOL.md of graphql-ws. The package's own client speaks where it
// can; what it would never send is sent by hand.

import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { EVENTS, NOTE, addNote, equal, holds, note, play, world } from './cases.mjs';

const URL = `${world.BASE.replace('http', 'ws')}/graphql`;
const PROTOCOL = 'graphql-transport-ws';
const bearer = (token) => ({ authorization: `Bearer ${token}` });
const watched = { query: EVENTS, variables: { id: world.INTERVIEW } };

/** The package's client. */
const client = (token = world.HR, more = {}) =>
  createClient({
    url: URL,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: token === null ? undefined : bearer(token),
    ...more,
  });

/** All results of an operation; throws what ended it otherwise. */
async function all(one, request) {
  const results = [];
  for await (const result of one.iterate(request)) results.push(result);
  return results;
}

/** A socket that says what it is told. */
class Raw {
  constructor(protocols = PROTOCOL) {
    this.heard = [];
    this.waiting = [];
    this.socket = new WebSocket(URL, protocols);
    const tell = (item) => {
      const next = this.waiting.shift();
      if (next) next(item);
      else this.heard.push(item);
    };
    this.socket.on('message', (data) => {
      const message = JSON.parse(data);
      // A heartbeat of the server may come at any time.
      if (message.type !== 'ping') tell(message);
    });
    this.socket.on('close', (code, reason) => tell({ code, reason: reason.toString() }));
    this.socket.on('error', (error) => tell({ error: error.message }));
    this.opened = new Promise((done) => this.socket.on('open', done));
  }

  static async ready(token = world.HR) {
    const raw = new Raw();
    await raw.say({ type: 'connection_init', payload: bearer(token) });
    equal(await raw.next(), { type: 'connection_ack' });
    return raw;
  }

  async say(message) {
    await this.opened;
    this.socket.send(typeof message === 'object' && !Buffer.isBuffer(message) ? JSON.stringify(message) : message);
  }

  subscribe(id, payload) {
    return this.say({ id, type: 'subscribe', payload });
  }

  next() {
    const heard = this.heard.shift();
    return heard ? Promise.resolve(heard) : new Promise((done) => this.waiting.push(done));
  }

  /** Asserts that the server closes. */
  async closes(code, reason) {
    const heard = await this.next();
    equal(heard.code, code);
    if (reason !== undefined) equal(heard.reason, reason);
  }

  /** Asserts that it still serves. */
  async serves() {
    await this.subscribe('still', { query: '{ __typename }' });
    const next = await this.next();
    equal([next.id, next.type, next.payload.data], ['still', 'next', { __typename: 'Query' }]);
    equal(await this.next(), { id: 'still', type: 'complete' });
    this.socket.close(1000);
  }
}

/** The close that ends an operation of the package's client. */
async function closed(one, request = { query: '{ __typename }' }) {
  try {
    await all(one, request);
  } catch (event) {
    return event.code;
  }
  throw new Error('it went through');
}

await play('graphql-ws', {
  // First, as the token is good for seconds only.
  'the server closes with 4403 when the token ends': async () => {
    const stream = client(world.BRIEF).iterate(watched);
    equal((await stream.next()).value.data.interviewEvents.version, 1);
    let code;
    try {
      while (!(await stream.next()).done);
    } catch (event) {
      ({ code } = event);
    }
    equal(code, 4403);
  },
  'the sub-protocol is graphql-transport-ws': async () => {
    const raw = await Raw.ready();
    equal(raw.socket.protocol, PROTOCOL);
    await raw.serves();
  },
  'a socket without the sub-protocol is closed with 4406': async () => {
    await new Raw([]).closes(4406);
  },
  'all messages contain the type field, else 4400': async () => {
    const raw = await Raw.ready();
    await raw.say({ id: '1' });
    await raw.closes(4400);
  },
  'the client closes with 1000, and the server answers': async () => {
    const raw = await Raw.ready();
    raw.socket.close(1000);
    await raw.closes(1000);
  },
  'the connection is acknowledged': async () => {
    equal(await all(client(), { query: '{ viewer { __typename } }' }).then(([first]) => first.data), {
      viewer: { __typename: 'MemberViewer' },
    });
  },
  'the payload of connection_init is optional': async () => {
    const raw = new Raw();
    await raw.say({ type: 'connection_init' });
    equal(await raw.next(), { type: 'connection_ack' });
    await raw.serves();
  },
  'the payload of connection_init is an object, else 4400': async () => {
    const raw = new Raw();
    await raw.say({ type: 'connection_init', payload: 'text' });
    await raw.closes(4400);
  },
  'a connection that is not initialised in time is closed with 4408': async () => {
    await new Raw().closes(4408, 'Connection initialisation timeout');
  },
  'a second connection_init is closed with 4429': async () => {
    const raw = await Raw.ready();
    await raw.say({ type: 'connection_init' });
    await raw.closes(4429, 'Too many initialisation requests');
  },
  'two connection_init at once are closed with 4429': async () => {
    const raw = new Raw();
    await raw.say({ type: 'connection_init', payload: bearer(world.HR) });
    await raw.say({ type: 'connection_init', payload: bearer(world.HR) });
    let heard = await raw.next();
    if (heard.type === 'connection_ack') heard = await raw.next();
    equal(heard.code, 4429);
  },
  'who is not admitted is closed with 4403': async () => {
    equal(await closed(client('nonsense')), 4403);
    equal(await closed(client(`${world.HR}x`)), 4403);
  },
  'a subscribe before the acknowledgement is closed with 4401': async () => {
    const raw = new Raw();
    await raw.subscribe('1', { query: '{ __typename }' });
    await raw.closes(4401, 'Unauthorized');
  },
  'a ping must be answered with a pong, at any time': async () => {
    const raw = new Raw();
    await raw.say({ type: 'ping' });
    equal(await raw.next(), { type: 'pong' });
    await raw.say({ type: 'connection_init' });
    equal(await raw.next(), { type: 'connection_ack' });
    await raw.say({ type: 'ping', payload: { beat: 1 } });
    equal(await raw.next(), { type: 'pong', payload: { beat: 1 } });
    await raw.serves();
  },
  "the client's heartbeat is answered": async () => {
    let beaten;
    const heard = new Promise((done) => (beaten = done));
    const one = client(world.HR, { keepAlive: 50, on: { pong: (received) => received && beaten() } });
    const stream = one.iterate(watched);
    await stream.next();
    await heard;
    await stream.return();
  },
  'a pong may come unasked': async () => {
    const raw = await Raw.ready();
    await raw.say({ type: 'pong' });
    await raw.say({ type: 'pong', payload: { beat: 1 } });
    await raw.serves();
  },
  'a second active subscriber of an id is closed with 4409': async () => {
    const raw = await Raw.ready();
    await raw.subscribe('same', watched);
    equal((await raw.next()).type, 'next');
    await raw.subscribe('same', watched);
    let heard = await raw.next();
    while (heard.type) heard = await raw.next();
    equal(heard, { code: 4409, reason: 'Subscriber for same already exists' });
  },
  'an id is free again after its operation': async () => {
    const raw = await Raw.ready();
    for (const query of ['{ __typename }', '{ nothing }', '{ __typename }']) {
      await raw.subscribe('again', { query });
      const heard = await raw.next();
      equal(heard.id, 'again');
      if (heard.type === 'next') equal(await raw.next(), { id: 'again', type: 'complete' });
    }
    await raw.serves();
  },
  'operationName and variables may be null or absent': async () => {
    const raw = await Raw.ready();
    await raw.subscribe('1', { query: '{ __typename }', operationName: null, variables: null });
    equal((await raw.next()).type, 'next');
    equal((await raw.next()).type, 'complete');
    await raw.serves();
  },
  'the chosen operation is run': async () => {
    const query = 'query One { one: __typename } query Two { two: __typename }';
    const [result] = await all(client(), { query, operationName: 'Two' });
    equal(result.data, { two: 'Query' });
  },
  'a single result is one next, then complete': async () => {
    const raw = await Raw.ready(world.INTERVIEWER);
    await raw.subscribe('q', { query: '{ __typename }' });
    equal([(await raw.next()).type, (await raw.next()).type], ['next', 'complete']);
    await raw.subscribe('m', { query: NOTE, variables: note() });
    const made = await raw.next();
    equal([made.type, made.payload.data.addInterviewNote.errors], ['next', []]);
    equal(await raw.next(), { id: 'm', type: 'complete' });
    await raw.serves();
  },
  'a stream is a next for each event': async () => {
    const stream = client().iterate(watched);
    let last = 0;
    const until = async (version) => {
      while (last < version) {
        const { value } = await stream.next();
        equal(value.data.interviewEvents.version, last + 1);
        last += 1;
      }
    };
    await until(await addNote());
    await until(await addNote());
    await stream.return();
  },
  'operations run beside each other': async () => {
    const raw = await Raw.ready();
    await raw.subscribe('stream', watched);
    equal((await raw.next()).id, 'stream');
    await raw.subscribe('query', { query: '{ __typename }' });
    let heard = await raw.next();
    while (heard.id !== 'query') heard = await raw.next();
    equal(heard.type, 'next');
    raw.socket.close(1000);
  },
  'errors before execution are an error message without a complete': async () => {
    const raw = await Raw.ready();
    for (const [query, code] of [
      ['{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
      ['{', 'GRAPHQL_PARSE_FAILED'],
      ['subscription { nothing }', 'GRAPHQL_VALIDATION_FAILED'],
      [EVENTS, 'BAD_USER_INPUT'],
    ]) {
      await raw.subscribe('bad', { query });
      const heard = await raw.next();
      equal([heard.id, heard.type], ['bad', 'error']);
      equal(heard.payload[0].extensions.code, code);
    }
    // Nothing else of it comes before this.
    await raw.serves();
  },
  'errors of execution are part of a next': async () => {
    const raw = await Raw.ready();
    const query = `{ viewer { __typename } job(id: "job_${'0'.repeat(32)}") { title } interviewHistory(interviewId: "${world.INTERVIEW}") { totalCount } }`;
    await raw.subscribe('1', { query });
    const heard = await raw.next();
    equal([heard.type, heard.payload.errors[0].extensions.code], ['next', 'AUTH_003']);
    equal((await raw.next()).type, 'complete');
    await raw.serves();
  },
  'a subscription that is refused is an error': async () => {
    let code;
    try {
      await all(client(null), watched);
    } catch (errors) {
      code = errors[0].extensions.code;
    }
    equal(code, 'AUTH_REQUIRED');
  },
  'after a complete of the client no further events should be sent': async () => {
    const raw = await Raw.ready();
    await raw.subscribe('gone', watched);
    equal((await raw.next()).type, 'next');
    await raw.say({ id: 'gone', type: 'complete' });
    await raw.say({ type: 'ping' });
    // What was on its way before the complete may still come; after the answer to the ping nothing does.
    while ((await raw.next()).type !== 'pong');
    await addNote();
    await raw.serves();
  },
  'a complete of what is over or unknown is not an error': async () => {
    const raw = await Raw.ready();
    await raw.say({ id: 'never', type: 'complete' });
    await raw.serves();
  },
  'an unknown type is closed with 4400 at once': async () => {
    const raw = await Raw.ready();
    await raw.say({ type: 'shout' });
    await raw.closes(4400);
  },
  'a message that is no JSON object is closed with 4400': async () => {
    for (const message of ['{', '[]', '"text"', 'null', '']) {
      const raw = await Raw.ready();
      await raw.say(message);
      await raw.closes(4400);
    }
  },
  'a binary message is closed with 4400': async () => {
    const raw = await Raw.ready();
    await raw.say(Buffer.from('{"type":"ping"}'));
    await raw.closes(4400);
  },
  'a subscribe without id, payload or query is closed with 4400': async () => {
    for (const message of [
      { type: 'subscribe', payload: { query: '{ __typename }' } },
      { id: '', type: 'subscribe', payload: { query: '{ __typename }' } },
      { id: 7, type: 'subscribe', payload: { query: '{ __typename }' } },
      { id: '1', type: 'subscribe' },
      { id: '1', type: 'subscribe', payload: {} },
      { id: '1', type: 'subscribe', payload: { query: 7 } },
      { id: '1', type: 'subscribe', payload: { query: '{ __typename }', variables: [] } },
    ]) {
      const raw = await Raw.ready();
      await raw.say(message);
      await raw.closes(4400);
    }
  },
  'a complete without id is closed with 4400': async () => {
    const raw = await Raw.ready();
    await raw.say({ type: 'complete' });
    await raw.closes(4400);
  },
  'messages of the server only are invalid from a client: 4400': async () => {
    for (const type of ['connection_ack', 'next', 'error']) {
      const raw = await Raw.ready();
      await raw.say({ id: '1', type, payload: {} });
      await raw.closes(4400);
    }
  },
});
