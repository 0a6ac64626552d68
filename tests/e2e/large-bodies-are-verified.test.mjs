// The HMAC of a large body is the platform's, that of a small one the program's own: both take the right signature, with
// each digest and with more than the body in the signed text, and neither takes another.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';

const hub = await startHub();
after(() => hub.close());

const definition = (hash) => ({
  name: `large-${hash}`,
  version: '1.0.0',
  description: 'Signs with one digest',
  webhook: {
    verification: {
      kind: 'hmac', hash, signed: 'v0:{header:X-Time}:{body}',
      signature: { from: 'header:X-Signature', encoding: 'hex' },
    },
    event: { delivery_id: 'header:X-Id', type: 'body:/type', subject: 'body:/deep/1/name' },
  },
});

for (const hash of ['sha1', 'sha256', 'sha384', 'sha512']) {
  test(`${hash}, on both sides of the border`, async () => {
    assert.equal((await hub.api('POST', '/api/v1/integration-definitions', definition(hash))).status, 201);
    const [first, second] = [randomBytes(20).toString('hex'), randomBytes(20).toString('hex')];
    const { webhook_path: path } = await hub.ok('POST', '/api/v1/connections', {
      integration: `large-${hash}`, config: { webhook_secret: first, webhook_secret_previous: second },
    });
    for (const length of [200, 4_000, 4_200, 70_000, 300_000]) {
      const body = Buffer.from(JSON.stringify({ type: 'made', rest: 'é'.repeat((length - 60) / 2), deep: [0, { name: `of ${length}` }] }));
      const time = '1700000000';
      const deliver = (signature, bytes = body) => send(`${hub.url}${path}`, {
        headers: [['content-type', 'application/json'], ['x-id', `${length} ${signature}`], ['x-time', time], ['x-signature', signature]], body: bytes,
      });
      const signed = (key, text = `v0:${time}:`) => createHmac(hash, key).update(text).update(body).digest('hex');

      const accepted = await deliver(signed(first));
      assert.equal(accepted.status, 202, `${length}: ${accepted.bytes}`);
      const event = await hub.ok('GET', `/api/v1/events/${JSON.parse(accepted.bytes).id}`);
      assert.deepEqual([event.type, event.subject], [`large-${hash}.made`, `of ${length}`]);
      assert.equal((await deliver(signed(second))).status, 202, 'the secret before this one');

      const flipped = Buffer.from(body);
      flipped[length >> 1] ^= 1;
      const refused = {
        'another body': await deliver(signed(first), flipped),
        'another secret': await deliver(signed('a guess')),
        'another text before the body': await deliver(signed(first, 'v0:1700000001:')),
        'no text before the body': await deliver(signed(first, '')),
        'half a signature': await deliver(signed(first).slice(0, 20)),
      };
      for (const [what, { status }] of Object.entries(refused)) assert.equal(status, 401, `${length}, ${what}`);
    }
  });
}
