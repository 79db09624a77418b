// The audit suite of the GraphQL-over-HTTP specification, as a stranger and signed in.

import { serverAudits } from 'graphql-http';
import { play, world } from './cases.mjs';

// These ask for the schema, which strangers are not shown.
const INTROSPECTING = ['BF61', '2EA1', '28B9', 'D6D5', '6A70'];

const cases = {};
const signedIn = (url, init = {}) =>
  fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${world.HR}` } });
for (const [who, fetchFn] of [
  ['a stranger', fetch],
  ['signed in', signedIn],
]) {
  for (const audit of serverAudits({ url: `${world.BASE}/graphql`, fetchFn })) {
    if (fetchFn === fetch && INTROSPECTING.includes(audit.id)) continue;
    cases[`${audit.id} ${audit.name} (${who})`] = async () => {
      const result = await audit.fn();
      // What the specification leaves open is shown as what it is.
      if (result.status === 'notice') console.log(`        open: ${result.reason}`);
      else if (result.status !== 'ok') throw new Error(result.reason);
    };
  }
}
await play('graphql-over-http', cases);
