// A small edition of `npm run chaos`: events under load, a destination that fails, a server that is killed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chaos } from '../support/chaos.mjs';

test('every accepted event arrives and is recorded once, whatever fails', { timeout: 400_000 }, async () => {
  const found = await chaos({ events: 200, kills: 2, failing: 0.3, minutes: 6 });

  assert.equal(found.accepted, 200);
  assert.equal(found.kills, 2);
  assert.ok(found.refused > 10, 'the destination did fail');
  for (const [what, list] of Object.entries(found.wrong)) assert.deepEqual(list, [], what);
});
