// A feed is polled from cron: new entries become events and reach a subscriber, whatever the feed's server does.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { startServer } from '../support/server.mjs';
import { until } from '../support/until.mjs';

let hub;
before(async () => { hub = await startHub(); });
after(() => hub.close());

/** A feed's server; `feed.reply(request)` answers. */
async function openFeed(t, reply) {
  const feed = await startServer((request) => reply(request));
  t.after(() => feed.close());
  return feed;
}

const rss = (entries, head = '<?xml version="1.0"?>') =>
  `${head}<rss version="2.0"><channel><title>Blog</title>${entries.map((id) =>
    `<item><guid>${id}</guid><title>Post ${id}</title><link>/posts/${id}</link></item>`).join('')}</channel></rss>`;

const makePoll = (feeds, more = {}) => hub.ok('POST', '/api/v1/polls', {
  integration: 'rss-reader', trigger: 'new_entries', inputs: { feeds }, interval: '1m', ...more,
});

const run = (poll) => hub.ok('POST', `/api/v1/polls/${poll.id}/run`, {});

async function payloads(owner) {
  const { data } = await hub.ok('GET', '/api/v1/events?type=rss-reader.new_entries&limit=200');
  const own = data.filter((event) => event.owner === owner).reverse();
  return Promise.all(own.map(({ id }) => hub.ok('GET', `/api/v1/events/${id}/payload`)));
}

test('new entries reach a subscriber after the tick that finds them', async (t) => {
  let listed = ['b', 'a'];
  const feed = await openFeed(t, () => ({ status: 200, body: rss(listed) }));
  const subscriber = await openFeed(t, () => ({ status: 200 }));
  await hub.ok('POST', '/api/v1/destinations', { name: 'reader', url: subscriber.url, event_types: ['rss-reader.*'], role: 'subscriber', owner: 'feeds-1' });
  const poll = await makePoll([`${feed.url}/feed`], { owner: 'feeds-1' });

  await hub.tick();
  await until('the baseline', async () => (await hub.ok('GET', `/api/v1/polls/${poll.id}`)).last_poll_ts);
  assert.deepEqual(await payloads('feeds-1'), []);
  listed = ['d', 'c', 'b', 'a'];
  await run(poll);

  const messages = await until('two messages', () => subscriber.requests.length >= 2 && subscriber.requests);
  const titles = messages.map(({ body }) => JSON.parse(body).data.title).sort();
  assert.deepEqual(titles, ['Post c', 'Post d']);
  const [first] = await payloads('feeds-1');
  assert.equal(first.link, `${feed.url}/posts/c`);
});

test('the platform reads what a feed is encoded in', async (t) => {
  const encodings = {
    'windows-1251': [0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2],
    'iso-8859-1': [0x4a, 0xfc, 0x72, 0x67, 0x65, 0x6e],
    shift_jis: [0x93, 0xfa, 0x96, 0x7b],
    'gb18030': [0xc4, 0xe3, 0xba, 0xc3],
    'euc-kr': [0xc7, 0xd1, 0xb1, 0xdb],
  };
  const expected = { 'windows-1251': 'Привет', 'iso-8859-1': 'Jürgen', shift_jis: '日本', gb18030: '你好', 'euc-kr': '한글' };
  const bytes = (name) => Buffer.concat([
    Buffer.from(`<?xml version="1.0" encoding="${name}"?><rss><channel><item><guid>1</guid><title>`),
    Buffer.from(encodings[name]),
    Buffer.from('</title></item></channel></rss>'),
  ]);
  const { createServer } = await import('node:http');
  const server = createServer((request, reply) => reply.writeHead(200, { 'content-type': 'application/xml' }).end(bytes(request.url.slice(1))));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.close(); server.closeAllConnections(); });
  const url = `http://127.0.0.1:${server.address().port}`;
  const names = Object.keys(encodings);
  const poll = await makePoll(names.map((name) => `${url}/${name}`), { owner: 'feeds-2', backfill: 1 });

  await run(poll);

  const titles = (await payloads('feeds-2')).map(({ title, feed_url }) => [feed_url.split('/').at(-1), title]);
  assert.deepEqual(Object.fromEntries(titles), expected);
});

test('an answer of "not modified" costs at most four rows of D1', async (t) => {
  const feed = await openFeed(t, ({ headers }) => headers['if-none-match'] === '"v1"'
    ? { status: 304 }
    : { status: 200, headers: { etag: '"v1"' }, body: rss(['a']) });
  const poll = await makePoll([`${feed.url}/feed`], { owner: 'feeds-3' });
  await run(poll);
  await run(poll);
  assert.equal(feed.requests.at(-1).reply.status, 304);

  // The same statements as the hub's own, which does not see what D1 bills.
  const source = readFileSync(new URL('../../src/store/poll.rs', import.meta.url), 'utf8');
  const statement = (name) => new RegExp(`const ${name}: &str = "([^"]+)";`).exec(source)[1];
  const db = (await hub.env()).DB;
  // Whatever else is due must not be claimed in its place.
  await db.prepare("UPDATE poll SET due_at = NULL WHERE id <> ?").bind(poll.id).run();
  const row = await db.prepare('SELECT * FROM poll WHERE id = ?').bind(poll.id).first();
  const now = Date.now() + 3_600_000;
  const leased = await db.prepare(statement('LEASE_DUE')).bind('measure', now, 180_000, 1).run();
  assert.equal(leased.results[0].id, poll.id);
  const [finished] = await db.batch([db.prepare(statement('FINISH')).bind(
    poll.id, 'measure', row.state, now + 60_000, 0, null, now, now, null, row.items_seen, row.progress, row.seen,
  )]);
  assert.equal(finished.results.length, 1);

  const written = [leased.meta.rows_written, finished.meta.rows_written];
  console.log(`a poll answered with 304: ${written[0]} + ${written[1]} rows written in local D1 (claim, end; indexes counted)`);
  assert.ok(written[0] > 0 && written[0] + written[1] <= 4, JSON.stringify(written));
});

test('a feed that is a web page, and one that is gone', async (t) => {
  const feed = await openFeed(t, ({ path }) => ({
    '/page': { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html><link rel="alternate" type="application/atom+xml" href="/atom">' },
    '/gone': { status: 410 },
  })[path]);
  const page = await run(await makePoll([`${feed.url}/page`], { owner: 'feeds-4' }));
  assert.match(page.last_error.detail, new RegExp(`${feed.url}/atom`));
  const gone = await run(await makePoll([`${feed.url}/gone`], { owner: 'feeds-4' }));
  assert.deepEqual([gone.state, gone.next_due_at], ['needs_attention', null]);
});

test('a feed of ten megabytes is read', async (t) => {
  const filler = 'x'.repeat(9_000);
  const big = `<?xml version="1.0"?><rss version="2.0"><channel><title>Big</title>${Array.from({ length: 1_050 }, (_, n) =>
    `<item><guid>${n}</guid><title>Post ${n}</title><description>${filler}</description></item>`).join('')}</channel></rss>`;
  assert.ok(big.length > 9_400_000 && big.length < 10_485_760, String(big.length));
  const feed = await openFeed(t, () => ({ status: 200, body: big }));
  const poll = await makePoll([`${feed.url}/feed`], { owner: 'feeds-5', backfill: 3 });

  const shown = await run(poll);

  assert.deepEqual([shown.last_error, shown.new_items, shown.ids_known], [null, 3, 1_050]);
});
