// graphql-sse in distinct connections mode, sentence by sentence of its PROTOCOL.md. The package's own client speaks
// where it can; what it would never send is sent by hand.

import { createClient } from 'graphql-sse';
import { EVENTS, NOTE, addNote, equal, holds, note, play, world } from './cases.mjs';

const client = (token, base = world.BASE) =>
  createClient({
    url: `${base}/graphql`,
    retryAttempts: 0,
    headers: token ? { authorization: `Bearer ${token}` } : {},
  });

/** All results of an operation. */
async function all(token, request) {
  const results = [];
  for await (const result of client(token).iterate(request)) results.push(result);
  return results;
}

const send = (body, { token = world.HR, method = 'POST', accept = 'text/event-stream' } = {}) =>
  fetch(`${world.BASE}/graphql`, {
    method,
    headers: {
      accept,
      'content-type': 'application/json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    },
    body: JSON.stringify(body),
  });

const code = (result) => result.errors?.[0]?.extensions?.code;

/** Asserts a stream of one refusal. */
async function refused(body, expected, options) {
  const response = await send(body, options);
  equal([response.status, response.headers.get('content-type')], [200, 'text/event-stream']);
  const text = await response.text();
  const events = text.split('\n\n').filter((event) => event.startsWith('event:'));
  equal(events.map((event) => event.split('\n')[0]), ['event: next', 'event: complete']);
  const result = JSON.parse(events[0].split('\n')[1].slice('data: '.length));
  equal([code(result), 'data' in result], [expected, false]);
}

await play('graphql-sse', {
  // First, as the token is good for seconds only.
  'a stream ends with its token, and says so': async () => {
    const request = { query: EVENTS, variables: { id: world.INTERVIEW } };
    const results = await all(world.BRIEF, request);
    holds('events came before', results.length > 1);
    equal(code(results.at(-1)), 'SESSION_EXPIRED');
  },
  'operation requests need to conform to GraphQL over HTTP': async () => {
    equal((await send({ query: 7 })).status, 400);
    equal((await send('{')).status, 400);
    equal((await send({ query: '{ __typename }' }, { token: 'nonsense' })).status, 401);
    equal((await send({ query: '{ __typename }' }, { accept: 'image/png' })).status, 406);
  },
  'the content type MUST always be text/event-stream': async () => {
    for (const query of ['{ __typename }', '{ nothing }', '{']) {
      const response = await send({ query });
      equal([response.status, response.headers.get('content-type')], [200, 'text/event-stream']);
      await response.body.cancel();
    }
  },
  'validation MUST report errors by next events of an accepted connection': async () => {
    await refused({ query: '{ nothing }' }, 'GRAPHQL_VALIDATION_FAILED');
    await refused({ query: '{' }, 'GRAPHQL_PARSE_FAILED');
    await refused({ query: EVENTS, operationName: 'Other' }, 'OPERATION_RESOLUTION_FAILED');
    await refused({ query: EVENTS }, 'BAD_USER_INPUT');
    await refused({ query: '{ __schema { types { name } } }' }, 'INTROSPECTION_FORBIDDEN', { token: null });
    const [result, ...rest] = await all(world.HR, { query: 'subscription { nothing }' });
    equal([code(result), rest], ['GRAPHQL_VALIDATION_FAILED', []]);
  },
  'the server should not answer event-stream readers with JSON': async () => {
    const response = await send({ query: 'subscription { nothing }' });
    equal(response.headers.get('content-type'), 'text/event-stream');
    await response.body.cancel();
  },
  'the execution result is streamed': async () => {
    const [shown, ...none] = await all(world.HR, { query: '{ __typename }' });
    equal([shown.data, none], [{ __typename: 'Query' }, []]);
    const [made, ...rest] = await all(world.INTERVIEWER, { query: NOTE, variables: note() });
    equal([made.data.addInterviewNote.errors, rest], [[], []]);
  },
  'after all results the complete event follows': async () => {
    const text = await (await send({ query: '{ __typename }' })).text();
    const names = text.split('\n').filter((line) => line.startsWith('event:'));
    equal(names, ['event: next', 'event: complete']);
    holds('it ends the stream', text.endsWith('event: complete\ndata: \n\n'));
  },
  'a source that refuses is a next event with errors, then complete': async () => {
    const [result, ...rest] = await all(null, { query: EVENTS, variables: { id: world.INTERVIEW } });
    equal([code(result), rest], ['AUTH_REQUIRED', []]);
  },
  'a streaming operation ends when the client closes its connection': async () => {
    const open = async () => {
      const text = await (await fetch(`${world.BASE}/metrics`)).text();
      return Number(/^api_streams (\d+)/m.exec(text)?.[1]);
    };
    const until = async (count) => {
      while ((await open()) !== count);
    };
    await until(0);
    const stream = client(world.HR).iterate({ query: EVENTS, variables: { id: world.INTERVIEW } });
    for await (const { data } of stream) {
      equal(data.interviewEvents.version, 1);
      await until(1);
      break;
    }
    await until(0);
  },
  'results keep coming while there are any, and go on at any replica': async () => {
    let after = null;
    let last = 0;
    for (const base of [world.BASE, world.OTHER, world.BASE]) {
      const wanted = await addNote();
      const request = { query: EVENTS, variables: { id: world.INTERVIEW, after } };
      for await (const { data } of client(world.HR, base).iterate(request)) {
        equal(data.interviewEvents.version, last + 1);
        ({ cursor: after, version: last } = data.interviewEvents);
        if (last === wanted) break;
      }
      equal(last, wanted);
    }
  },
  'each operation has a connection of its own': async () => {
    const one = client(world.HR);
    const results = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { value } = await one.iterate({ query: '{ __typename }' }).next();
        return value.data.__typename;
      }),
    );
    equal(results, Array(20).fill('Query'));
  },
  'an EventSource asks with GET, which runs no mutation': async () => {
    const get = (query) => {
      const url = new URL(`${world.BASE}/graphql`);
      url.searchParams.set('query', query);
      const headers = { accept: 'text/event-stream', authorization: `Bearer ${world.HR}` };
      return fetch(url, { headers });
    };
    const answer = await get('{ __typename }');
    equal(answer.status, 200);
    holds('it is streamed', (await answer.text()).includes('event: next'));
    equal((await get('mutation { __typename }')).status, 405);
  },
  'single connection mode is not offered: no reservation is made': async () => {
    const reserved = await send({}, { method: 'PUT' });
    equal([reserved.status, reserved.headers.get('allow')], [405, 'GET, POST']);
    equal((await send({}, { method: 'DELETE' })).status, 405);
  },
});
