// Deliveries that come at the same moment go to the database together, and each is answered for itself.
import assert from 'node:assert/strict';
import { after, beforeEach, mock, test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { share } from '../../src/edge/share.js';
import { startHub } from '../support/hub.mjs';
import { deliver, payloads } from '../support/payloads.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const route = `${hub.url}/api/integration/github/events`;
const secret = hub.settings.GITHUB_WEBHOOK_SECRET;
const send = (id, text) => {
  const [event, payload] = payloads.issueComment({ repo: 'o/r', installation: 1, user: 'alice', issue: 1, text });
  return deliver(route, { secret, event, payload, id });
};

test('of many at once each is stored, once, and told its own id', async () => {
  const wanted = Array.from({ length: 60 }, () => randomUUID());

  const replies = await Promise.all([...wanted, ...wanted].map((id) => send(id, `About ${id}`)));

  assert.deepEqual([...new Set(replies.map(({ status }) => status))], [202]);
  const first = new Map(replies.filter(({ body }) => !body.duplicate).map(({ body }) => [body.id, true]));
  assert.equal(first.size, wanted.length);
  for (const [at, id] of wanted.entries()) {
    const [one, other] = [replies[at].body, replies[at + wanted.length].body];
    assert.equal(one.id, other.id);
    assert.notEqual(one.duplicate, other.duplicate);
    const stored = await hub.ok('GET', `/api/v1/events/${one.id}`);
    assert.equal(stored.deliveryid, id);
    const { bytes } = await hub.api('GET', `/api/v1/events/${one.id}/payload`);
    assert.equal(JSON.parse(bytes).comment.body, `About ${id}`);
  }
});

test('a crowd of large ones is answered too, round after round', async () => {
  const text = 'It fails. '.repeat(20_000);
  for (let round = 0; round < 4; round += 1) {
    const replies = await Promise.all(Array.from({ length: 64 }, () => send(randomUUID(), text)));
    assert.deepEqual([...new Set(replies.map(({ status }) => status))], [202], `round ${round}`);
  }
});

/** A database that answers when it is told to, and fails where a statement is bad. */
function database() {
  const asked = [];
  const ask = (kind, names) => new Promise((resolve, reject) => { asked.push({ kind, names, resolve, reject }); });
  return {
    asked,
    statement: (name) => ({ name, all: () => ask('all', [name]) }),
    batch: (statements) => ask('batch', statements.map(({ name }) => name)),
  };
}

const rows = (name) => ({ results: [{ name }] });
/** The database's reply to one question: each statement its own row. */
const answer = ({ kind, names, resolve }) => resolve(kind === 'all' ? rows(names[0]) : names.map(rows));
/** Whose statements those were. Which of those that wait looks first is up to their timers. */
const sorted = ({ names }) => names.toSorted();
const turn = () => new Promise((resolve) => { setImmediate(resolve); });
/** One that comes alone: the turn after it waits for nobody. */
async function lonely() {
  const db = database();
  const alone = share(db, db.statement('alone'), 10);
  await asked(db, 1);
  answer(db.asked[0]);
  await alone;
}
/** Until the database has been asked so often: those that wait look again by timers. */
const asked = (db, times) => until(`${times} questions`, () => db.asked.length >= times);

beforeEach(lonely);

test('while one is on its way the others wait, and then go together', async () => {
  const db = database();
  const all = ['a', 'b', 'c', 'd'].map((name) => share(db, db.statement(name), 10));
  await turn();
  assert.deepEqual(db.asked.map(({ kind, names }) => [kind, names]), [['all', ['a']]]);

  answer(db.asked[0]);
  await asked(db, 2);
  assert.deepEqual(sorted(db.asked[1]), ['b', 'c', 'd']);
  answer(db.asked[1]);

  assert.deepEqual((await Promise.all(all)).map(([{ name }]) => name), ['a', 'b', 'c', 'd']);
});

test('after one that had company, the next waits a moment for more, and after that one no longer', async () => {
  const db = database();
  const crowd = ['a', 'b', 'c'].map((name) => share(db, db.statement(name), 10));
  await turn();
  answer(db.asked[0]);
  await asked(db, 2);
  answer(db.asked[1]);
  await Promise.all(crowd);

  const next = ['d', 'e', 'f'].map((name) => share(db, db.statement(name), 10));
  await asked(db, 3);
  assert.deepEqual(sorted(db.asked[2]), ['d', 'e', 'f']);
  answer(db.asked[2]);
  assert.deepEqual((await Promise.all(next)).map(([{ name }]) => name), ['d', 'e', 'f']);

  const alone = share(db, db.statement('g'), 10);
  await asked(db, 4);
  answer(db.asked[3]);
  await alone;
  const after = share(db, db.statement('h'), 10);
  await turn();
  assert.deepEqual(db.asked[4].names, ['h'], 'at once');
  answer(db.asked[4]);
  await after;
});

test('what is too large together goes in several', async () => {
  const db = database();
  const names = Array.from({ length: 20 }, (_, at) => `s${at}`);
  const all = names.map((name) => share(db, db.statement(name), 60_000));
  await turn();
  for (let questions = 1; questions <= 3; questions += 1) {
    await asked(db, questions);
    answer(db.asked[questions - 1]);
  }
  assert.deepEqual((await Promise.all(all)).map(([{ name }]) => name), names);
  assert.deepEqual(db.asked.map((question) => question.names.length), [1, 17, 2]);
  assert.deepEqual(db.asked.flatMap((question) => question.names).toSorted(), names.toSorted());
});

test('what is large waits for no company', async () => {
  const db = database();
  const all = ['a', 'b'].map((name) => share(db, db.statement(name), 400_000));
  await turn();
  assert.deepEqual(db.asked.map(({ names }) => names), [['a'], ['b']]);
  for (const { names: [name], resolve } of db.asked) resolve(rows(name));
  await Promise.all(all);
});

test('where one of them fails, the others are stored all the same', async () => {
  const db = database();
  const all = ['a', 'bad', 'c'].map((name) => share(db, db.statement(name), 10));
  const ended = Promise.allSettled(all);
  await turn();
  db.asked[0].resolve(rows('a'));
  await asked(db, 2);
  db.asked[1].reject(new Error('one of you'));
  await asked(db, 4);
  assert.deepEqual(db.asked.slice(2).map(({ names }) => names[0]).sort(), ['bad', 'c']);
  for (const { names: [name], resolve, reject } of db.asked.slice(2)) name === 'bad' ? reject(new Error('it is me')) : resolve(rows(name));

  const [a, bad, c] = await ended;
  assert.equal(a.value[0].name, 'a');
  assert.match(bad.reason.message, /it is me/);
  assert.equal(c.value[0].name, 'c');
});

test('a turn that does not come is not waited for', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() });
  try {
    const db = database();
    const first = share(db, db.statement('stuck'), 10);
    const second = share(db, db.statement('waits'), 10);
    await turn();
    const aSecond = async () => {
      for (let looks = 0; looks < 45; looks += 1) { mock.timers.tick(25); await turn(); }
    };
    await aSecond();
    assert.deepEqual(db.asked.map(({ names }) => names), [['stuck'], ['waits']]);
    const third = share(db, db.statement('comes later'), 10);
    await aSecond();
    assert.deepEqual(db.asked[2].names, ['comes later']);
    for (const { names: [name], resolve } of db.asked) resolve(rows(name));
    const ended = Promise.all([first, second, third]);
    await aSecond();
    await ended;
  } finally {
    mock.timers.reset();
  }
});
