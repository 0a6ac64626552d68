// The TypeScript client, which is generated from the hub's document: typed calls, retries, pages.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { pages, patchbay } from '../../clients/typescript/src/index.ts';
import { startHub } from '../support/hub.mjs';

const port = await startHub();
after(() => port.close());

/** A client whose first replies come from elsewhere, as if something stood between it and the hub. */
function withTrouble(troubles) {
  const sent = [];
  const client = patchbay({
    baseUrl: port.url,
    token: port.settings.PATCHBAY_ADMIN_TOKEN,
    retry: { firstDelayMs: 1 },
    async fetch(request) {
      sent.push(request.headers.get('idempotency-key'));
      const trouble = troubles.shift();
      if (trouble === 'lost') throw new TypeError('the connection broke');
      // The hub acts, and its answer is lost on the way.
      if (trouble === 'acted') { await fetch(request.clone()); throw new TypeError('the connection broke'); }
      if (trouble) return Response.json({ code: trouble }, { status: 503, headers: { 'content-type': 'application/problem+json', 'retry-after': '0' } });
      return fetch(request);
    },
  });
  return { client, sent };
}
const destination = (name) => ({ name, url: 'http://127.0.0.1:9/', event_types: ['x.*'] });

test('what passes by itself is tried again, with the same key', async () => {
  const { client, sent } = withTrouble(['TEMPORARY_ERROR', 'RATE_LIMIT_EXCEEDED', 'TIMEOUT_ERROR']);

  const { data } = await client.POST('/api/v1/destinations', { body: destination('retried') });

  assert.equal(data.name, 'retried');
  assert.equal(sent.length, 4);
  assert.equal(new Set(sent).size, 1);
});

test('a reply that was lost is given again, and the row is made once', async () => {
  const { client } = withTrouble(['acted', 'lost']);

  const { data, response } = await client.POST('/api/v1/destinations', { body: destination('lost') });

  assert.match(data.secret, /^whsec_/);
  assert.equal(response.headers.get('idempotency-replayed'), 'true');
  const all = await client.GET('/api/v1/destinations');
  assert.equal(all.data.data.filter(({ name }) => name === 'lost').length, 1);
});

test('a call that is under way when its reply is lost is waited for', async () => {
  const { client, sent } = withTrouble(['acted', 'IDEMPOTENCY_IN_PROGRESS', 'IDEMPOTENCY_IN_PROGRESS']);

  const { data } = await client.POST('/api/v1/destinations', { body: destination('under way') });

  assert.match(data.secret, /^whsec_/);
  assert.deepEqual([sent.length, new Set(sent).size], [4, 1]);
});

test('what does not pass by itself is told at once', async () => {
  for (const code of ['INTERNAL', 'CONFLICT', 'UPSTREAM_ERROR']) {
    const { client, sent } = withTrouble([code]);
    const { error } = await client.GET('/api/v1/keys');
    assert.deepEqual([error.code, sent.length], [code, 1]);
  }
  const { client } = withTrouble([]);
  const { error, response } = await client.GET('/api/v1/events', { params: { query: { limit: 0 } } });
  assert.deepEqual([response.status, error.code], [400, 'VALIDATION_ERROR']);
});

test('after three more tries it is told too', async () => {
  const { client, sent } = withTrouble(Array(9).fill('TEMPORARY_ERROR'));
  const { error } = await client.GET('/api/v1/keys');
  assert.deepEqual([error.code, sent.length], ['TEMPORARY_ERROR', 4]);
});

test('a list is read page by page', async () => {
  const { client } = withTrouble([]);
  for (const name of ['1', '2', '3', '4', '5']) await client.POST('/api/v1/keys', { body: { name, scopes: ['events:read'] } });

  const names = [];
  for await (const { name } of pages((cursor) => client.GET('/api/v1/keys', { params: { query: { limit: 2, cursor } } }))) names.push(name);

  assert.deepEqual(names, ['5', '4', '3', '2', '1']);
});
