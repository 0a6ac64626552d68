// Every entry of a feed becomes one event, though the server is killed in the middle of ticks.
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

test('entries that come while the server is killed again and again arrive once each', async (t) => {
  let listed = ['history'];
  const feed = await startServer(async () => {
    await sleep(20);
    return { status: 200, body: `<rss><channel>${listed.map((id) => `<item><guid>${id}</guid><title>${id}</title></item>`).join('')}</channel></rss>` };
  });
  t.after(() => feed.close());
  server = await startWrangler(place);
  const poll = await server.ok('POST', '/api/v1/polls', {
    integration: 'rss-reader', trigger: 'new_entries', inputs: { feeds: [`${feed.url}/feed`] }, interval: '30s',
  });
  await server.ok('POST', `/api/v1/polls/${poll.id}/run`, {});

  let kills = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    listed = [...[1, 2, 3].map((n) => `${round}-${n}`), ...listed].slice(0, 15);
    // Asked for by hand, because the test does not wait for the minutes that a claim lasts: a change ends the claim.
    await server.ok('PATCH', `/api/v1/polls/${poll.id}`, { interval: `${30 + round}s` });
    const run = server.tick().catch(() => {});
    await sleep(15 * round);
    await server.kill();
    kills += 1;
    await run;
    server = await startWrangler(place);
    if (round % 3 === 0) {
      await server.ok('PATCH', `/api/v1/polls/${poll.id}`, { interval: `${60 + round}s` });
      await server.tick();
    }
  }

  await server.ok('PATCH', `/api/v1/polls/${poll.id}`, { interval: '2m' });
  await server.tick();
  const { data } = await server.ok('GET', '/api/v1/events?type=rss-reader.new_entries&limit=200');
  const expected = Array.from({ length: ROUNDS }, (_, at) => [1, 2, 3].map((n) => `${at + 1}-${n}`)).flat();
  assert.deepEqual(data.map(({ subject }) => subject).sort(), expected);
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
