// Whoever runs the hub can see what came in and what became of it.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { openScene } from '../support/scene.mjs';

const hub = await startHub();
after(() => hub.close());

// Kept open for the whole file.
const scene = await openScene({ after }, hub);
const sent = [];
for (let number = 0; number < 7; number += 1) sent.push(await scene.comment(`Comment ${number}`, { issue: 2 }));
sent.push(await scene.send('issueOpened', { issue: 3, text: 'It crashes.' }));

const list = (query) => hub.ok('GET', `/api/v1/events?${new URLSearchParams(query)}`);
const ids = (events) => events.map(({ id }) => id);

test('the newest events come first, a page at a time, each once', async () => {
  const pages = [];
  let cursor;
  do {
    const page = await list({ limit: 3, ...(cursor && { cursor }) });
    pages.push(page.data);
    cursor = page.next_cursor;
  } while (cursor);

  assert.deepEqual(pages.map((page) => page.length), [3, 3, 2]);
  assert.equal(cursor, null);
  assert.deepEqual(ids(pages.flat()), ids(sent).reverse());
});

test('events that come in between two pages shift nothing', async () => {
  const first = await list({ limit: 4 });
  sent.push(await scene.comment('Late'));
  const second = await list({ limit: 4, cursor: first.next_cursor });

  assert.deepEqual(ids([...first.data, ...second.data]), ids(sent).slice(0, 8).reverse());
});

test('filters choose', async () => {
  const opened = ids(sent.slice(7, 8));
  const deliveryId = (await hub.ok('GET', `/api/v1/events/${sent[2].id}`)).deliveryid;
  const cases = [
    [{ type: 'github.issues.opened' }, opened],
    [{ service: 'github', type: 'github.issues.opened' }, opened],
    [{ service: 'gitlab' }, []],
    [{ connection_id: 'con_00000000000000000000000000' }, []],
    [{ connection_id: scene.connection.id, type: 'github.issues.opened' }, opened],
    [{ type: 'github.unparsable' }, []],
    [{ status: 'failed' }, []],
    [{ q: deliveryId }, [sent[2].id]],
    [{ q: sent[4].id }, [sent[4].id]],
    [{ until: '2020-01-01T00:00:00Z' }, []],
    [{ since: '2100-01-01T00:00:00Z' }, []],
    [{ since: '2020-01-01T00:00:00Z', until: '2100-01-01T00:00:00Z', type: 'github.issues.opened' }, opened],
  ];

  for (const [query, wanted] of cases) assert.deepEqual(ids((await list(query)).data), wanted, JSON.stringify(query));
});

test('one event is shown with its envelope, context and exact payload, its signature masked', async () => {
  const asked = await scene.ask('@patchbay look', { issue: 4 });
  const { id } = asked.message.data.event;

  const event = await hub.ok('GET', `/api/v1/events/${id}`);
  const payload = await hub.api('GET', `/api/v1/events/${id}/payload`);

  assert.partialDeepStrictEqual(event, { specversion: '1.0', id, type: 'github.issue_comment.created', connectionid: scene.connection.id });
  assert.partialDeepStrictEqual(event.context, { repo: scene.repo, issue: 4, user: 'alice', text: '@patchbay look' });
  assert.equal(typeof event.decision, 'string');
  assert.equal(event.deliveries.length, 1);
  assert.equal(event.deliveries[0].destination_id, scene.destination.id);
  assert.equal(JSON.parse(payload.bytes).comment.body, '@patchbay look');
  assert.doesNotMatch(JSON.stringify(event), /sha256=[0-9a-f]{64}/);
});

test('deliveries and runs are listed', async () => {
  const asked = await scene.ask('@patchbay look', { issue: 5 });
  const run = await scene.ended((await scene.complete(asked, 'Done.')).body.runs[0].id);

  const deliveries = await hub.ok('GET', `/api/v1/deliveries?event_id=${asked.message.data.event.id}`);
  const elsewhere = await hub.ok('GET', `/api/v1/deliveries?destination_id=dst_00000000000000000000000000`);
  const runs = await hub.ok('GET', '/api/v1/runs?limit=1');

  assert.deepEqual(deliveries.data.map(({ event_id, destination_id, status }) => [event_id, destination_id, status]), [
    [asked.message.data.event.id, scene.destination.id, 'delivered'],
  ]);
  assert.deepEqual(elsewhere, { data: [], next_cursor: null });
  assert.deepEqual(ids(runs.data), [run.id]);
  assert.partialDeepStrictEqual(run, { action: 'create_comment', status: 'succeeded', conversation_id: asked.message.data.conversation_id });
  assert.equal(run.attempts.length, 1);
});

test('connections and destinations are listed without their secrets', async () => {
  const shown = [
    await hub.api('GET', '/api/v1/connections'),
    await hub.api('GET', `/api/v1/connections/${scene.connection.id}`),
    await hub.api('GET', '/api/v1/destinations'),
    await hub.api('GET', `/api/v1/destinations/${scene.destination.id}`),
  ];

  for (const { status, bytes } of shown) {
    assert.equal(status, 200);
    for (const secret of [scene.secret, scene.destination.secret, 'PRIVATE KEY']) assert.ok(!bytes.includes(secret));
  }
  assert.partialDeepStrictEqual(shown[1].body, {
    integration: 'github', owner: scene.owner, status: 'CONNECTED', config: { app_id: '424242', base_url: scene.github.url },
    webhook_path: `/api/integration/github/events/${scene.connection.id}`,
    webhook_url: `${hub.settings.PATCHBAY_PUBLIC_URL}/api/integration/github/events/${scene.connection.id}`,
  });
});

test('a deleted connection takes no more events', async (t) => {
  const other = await openScene(t, hub);

  assert.equal((await hub.api('DELETE', `/api/v1/connections/${other.connection.id}`)).status, 204);

  assert.equal((await hub.api('GET', `/api/v1/connections/${other.connection.id}`)).status, 404);
  await assert.rejects(other.comment('Anybody here?'), /answered (401|404)/);
});
