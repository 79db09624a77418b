// Runs cases one after the other and prints a line for each. What fails makes the exit code 1.

import { isDeepStrictEqual } from 'node:util';

const CASE_MS = 30_000;

/** Where the server is, and with whose tokens it is asked; the test sets it. */
export const world = Object.fromEntries(
  ['BASE', 'OTHER', 'HR', 'INTERVIEWER', 'INTERVIEW', 'BRIEF'].map((name) => {
    const value = process.env[name];
    if (!value) throw new Error(`${name} is not set`);
    return [name, value];
  }),
);

export const EVENTS = `subscription($id: ID!, $after: String) {
  interviewEvents(interviewId: $id, after: $after) { cursor version } }`;
export const NOTE = `mutation($input: AddInterviewNoteInput!) {
  addInterviewNote(input: $input) { version errors { code } } }`;

/** The variables of a note that was not made before. */
export const note = () => ({
  input: { commandId: crypto.randomUUID(), interviewId: world.INTERVIEW, text: 'Calm.' },
});

/** Adds a note to the interview; answers the version that the interview has with it. */
export async function addNote() {
  const response = await fetch(`${world.BASE}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${world.INTERVIEWER}` },
    body: JSON.stringify({ query: NOTE, variables: note() }),
  });
  const { data } = await response.json();
  equal(data.addInterviewNote.errors, []);
  return data.addInterviewNote.version;
}

export function equal(found, expected) {
  if (isDeepStrictEqual(found, expected)) return;
  const [left, right] = [found, expected].map((value) => JSON.stringify(value));
  throw new Error(`${left} and not ${right}`);
}

export function holds(what, is) {
  if (!is) throw new Error(`it does not hold that ${what}`);
}

/** Plays cases: sentence of the protocol → what is tried. */
export async function play(protocol, cases) {
  let failed = 0;
  for (const [sentence, body] of Object.entries(cases)) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('not over in time')), CASE_MS);
    });
    try {
      await Promise.race([body(), late]);
      console.log(`ok      ${protocol}: ${sentence}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${protocol}: ${sentence}: ${error?.message ?? JSON.stringify(error)}`);
    } finally {
      clearTimeout(timer);
    }
  }
  console.log(`${protocol}: ${Object.keys(cases).length} cases, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
