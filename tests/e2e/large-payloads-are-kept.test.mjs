// What GitHub sends is kept to the byte, however large and whatever it is.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { deliver } from '../support/payloads.mjs';
import { openScene } from '../support/scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());
const env = await hub.env();

const route = `${hub.url}/api/integration/github/events`;
const secret = hub.settings.GITHUB_WEBHOOK_SECRET;
const MB = 1_000_000;

/** A push with so many commits that it has at least `size` bytes: hardly compressible, or each like the others. */
function push(size, { alike = false } = {}) {
  const commits = [];
  for (let length = 0; length < size; length += 1100) {
    const message = alike ? 'ü and so on '.repeat(80) : randomBytes(750).toString('base64');
    commits.push({ id: randomBytes(20).toString('hex'), message, added: ['ü.txt'] });
  }
  return Buffer.from(JSON.stringify({ ref: 'refs/heads/main', commits }));
}

const bodies = {
  'of 30 KB, packed in its row': [push(30_000, { alike: true }), 'push'],
  'of 3.5 MB, packed in its row': [push(3.5 * MB, { alike: true }), 'push'],
  'of 30 KB that is not UTF-8, packed in its row': [Buffer.concat([Buffer.from([0xff, 0]), push(30_000, { alike: true })]), 'unparsable'],
  'of just under 1 MB': [push(0.99 * MB), 'push'],
  'of 2 MB': [push(2 * MB), 'push'],
  'of 20 MB': [push(20 * MB), 'push'],
  'that is not UTF-8': [Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), 'unparsable'],
  'with NUL bytes': [Buffer.from('{"a":\u0000\u0000}'), 'unparsable'],
  'with an escaped NUL': [Buffer.from(String.raw`{"a":"\u0000"}`), 'push'],
  'with a byte order mark': [Buffer.from('\ufeff{"a":1}'), 'unparsable'],
  'of random bytes, 2 MB': [randomBytes(2 * MB), 'unparsable'],
  'that is empty': [Buffer.alloc(0), 'unparsable'],
  'with duplicate keys and odd numbers': [Buffer.from('{"a":1,"a":2,"n":123456789012345678901234567890.10}'), 'push'],
};
for (const [name, [body, wanted]] of Object.entries(bodies)) {
  test(`a payload ${name} is accepted and given back as it was`, async () => {
    const reply = await deliver(route, { secret, event: 'push', payload: body });
    assert.equal(reply.status, 202, String(reply.bytes));

    const payload = await hub.api('GET', `/api/v1/events/${reply.body.id}/payload`);
    assert.equal(payload.status, 200);
    assert.ok(payload.bytes.equals(body), `${payload.bytes.length} bytes came back of ${body.length}`);
    const row = await env.DB.prepare('SELECT payload_encoding FROM event WHERE id = ?').bind(reply.body.id).first();
    assert.equal(row.payload_encoding, name.includes('packed') ? 'br' : null);
    const { type } = await hub.ok('GET', `/api/v1/events/${reply.body.id}`);
    assert.equal(type, `github.${wanted}`);
  });
}

test('a payload is handed out as a download, never as a page of the hub', async () => {
  const { body } = await deliver(route, { secret, event: 'push', payload: '<script>alert(1)</script>' });

  const { headers } = await hub.api('GET', `/api/v1/events/${body.id}/payload`);

  assert.doesNotMatch(headers.get('content-type') ?? '', /html|svg|xml/);
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
});

const paddings = { 'packed in its row': 'x'.repeat(1.5 * MB), 'too large for a row': randomBytes(1.1 * MB).toString('base64') };
for (const [where, padding] of Object.entries(paddings)) {
  test(`an agent is asked even where the payload is ${where}`, async (t) => {
    const scene = await openScene(t, hub);

    const { id } = await scene.comment('@patchbay look', { extra: { padding } });
    const asked = await scene.message(id);
    assert.ok(asked.message.data.event.data.padding === padding);
    const reply = await scene.complete(asked, 'That was long.');

    assert.equal((await scene.ended(reply.body.runs[0].id)).status, 'succeeded');
  });
}

test('the same large payload twice is stored once', async () => {
  const delivery = { secret, event: 'push', payload: push(2 * MB), id: crypto.randomUUID() };

  const [first, second] = [await deliver(route, delivery), await deliver(route, delivery)];

  assert.equal(second.body.duplicate, true);
  assert.equal(second.body.id, first.body.id);
  const { bytes } = await until('the payload', () => hub.api('GET', `/api/v1/events/${first.body.id}/payload`));
  assert.ok(bytes.equals(delivery.payload));
});
