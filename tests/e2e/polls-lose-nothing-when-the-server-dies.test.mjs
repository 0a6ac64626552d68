// Every item of two lists becomes one event, though the server is killed in the middle of ticks: of a feed that keeps no
// order and has one date for all, and of a list in pages that shift, whose second page often fails and whose newest item
// is deleted once it was seen.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SETTINGS } from '../support/hub.mjs';
import { startServer } from '../support/server.mjs';
import { makePlace, startWrangler } from '../support/wrangler-dev.mjs';

const place = await makePlace(SETTINGS);
after(() => place.remove());

let server;
after(() => server?.kill());

const ROUNDS = 6;

const shuffled = (list) => list.map((item) => [Math.random(), item]).sort(([a], [b]) => a - b).map(([, item]) => item);

/** A list in pages of ten with equal times. While it is `vicious` an item comes in between two pages, and pages fail. */
async function openList(t) {
  const list = { rows: Array.from({ length: 12 }, (_, n) => `history-${n}`), came: [], vicious: true };
  const come = (id) => { list.rows.unshift(id); list.came.push(id); };
  let asked = 0;
  const server = await startServer(async ({ query }) => {
    await sleep(10);
    const page = Number(query.get('page') ?? 1);
    asked += 1;
    if (list.vicious && page > 1 && asked % 3 === 0) return { status: 500 };
    const rows = list.rows.slice(page * 10 - 10, page * 10);
    const next = list.rows.length > page * 10 ? `/list?page=${page + 1}` : null;
    if (list.vicious && page === 1) come(`between-${asked}`);
    const items = rows.map((id) => ({ id, at: '2026-11-22T10:00:00Z' }));
    return { status: 200, body: { items, next } };
  });
  t.after(() => server.close());
  return Object.assign(list, { come, url: `${server.url}/list` });
}

test('items that come while the server is killed again and again arrive once each', async (t) => {
  let listed = ['history'];
  const feed = await startServer(async () => {
    await sleep(20);
    const items = shuffled(listed).map((id) => `<item><guid>${id}</guid><title>${id}</title><pubDate>Sun, 22 Nov 2026 10:00:00 GMT</pubDate></item>`);
    return { status: 200, body: `<rss><channel>${items.join('')}</channel></rss>` };
  });
  t.after(() => feed.close());
  const list = await openList(t);
  server = await startWrangler(place);
  const polls = [
    { integration: 'rss-reader', trigger: 'new_entries', inputs: { feeds: [`${feed.url}/feed`] } },
    { integration: 'http-json', trigger: 'new_items', inputs: { url: list.url, items: '/items', time: '/at', subject: '/id', next: '/next' } },
  ];
  const ids = [];
  list.vicious = false;
  for (const poll of polls) {
    const { id } = await server.ok('POST', '/api/v1/polls', { ...poll, interval: '30s' });
    const ran = await server.ok('POST', `/api/v1/polls/${id}/run`, {});
    assert.equal(ran.last_error, null);
    ids.push(id);
  }
  list.vicious = true;
  // Asked for by hand, because the test does not wait for the minutes that a claim lasts: a change ends the claim.
  const makeDue = async (seconds) => {
    for (const id of ids) await server.ok('PATCH', `/api/v1/polls/${id}`, { interval: `${seconds}s` });
  };

  let kills = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    listed = [...[1, 2, 3].map((n) => `${round}-${n}`), ...listed].slice(0, 15);
    for (const n of [1, 2, 3]) list.come(`${round}-${n}`);
    await makeDue(30 + round);
    const run = server.tick().catch(() => {});
    await sleep(15 * round);
    await server.kill();
    kills += 1;
    await run;
    server = await startWrangler(place);
    if (round % 3 === 0) {
      list.vicious = false;
      for (const seconds of [60, 61, 62]) {
        await makeDue(seconds + round);
        await server.tick();
      }
      list.vicious = true;
      // The newest was seen by now; that it is gone moves all others.
      list.rows.shift();
    }
  }

  list.vicious = false;
  for (const seconds of [120, 121, 122, 123]) {
    await makeDue(seconds);
    await server.tick();
  }
  const found = async (type) => {
    const { data } = await server.ok('GET', `/api/v1/events?type=${type}&limit=200`);
    return data.map(({ subject }) => subject).sort();
  };
  const expected = Array.from({ length: ROUNDS }, (_, at) => [1, 2, 3].map((n) => `${at + 1}-${n}`)).flat();
  assert.deepEqual(await found('rss-reader.new_entries'), expected);
  assert.deepEqual(await found('http-json.new_items'), [...list.came].sort());
  assert.equal(kills, ROUNDS);
});

test('a feed that moved for good is asked at its new address', async (t) => {
  const feed = await startServer(({ path }) => path === '/old'
    ? { status: 301, headers: { location: '/new' } }
    : { status: 200, body: '<rss><channel></channel></rss>' });
  t.after(() => feed.close());
  const poll = await server.ok('POST', '/api/v1/polls', {
    integration: 'rss-reader', trigger: 'new_entries', inputs: { feeds: [`${feed.url}/old`] }, interval: '30d',
  });

  await server.ok('POST', `/api/v1/polls/${poll.id}/run`, {});
  await server.ok('POST', `/api/v1/polls/${poll.id}/run`, {});

  assert.deepEqual(feed.requests.map(({ path }) => path), ['/old', '/new', '/new']);
});
