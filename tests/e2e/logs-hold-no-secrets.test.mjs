// The log is for machines and for strangers: JSON lines, without secrets and without what people wrote.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { deliver } from '../support/payloads.mjs';
import { openScene } from '../support/scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

test('every line is a JSON object, and none holds a secret or a word of a payload', async (t) => {
  const scene = await openScene(t, hub);
  scene.github.fail({ method: 'POST', path: /\/comments$/, answer: { status: 502, body: 'a body that must stay out' } });

  const { id, trace_id: trace } = await scene.comment('@patchbay the question of a customer');
  const asked = await scene.message(id);
  await scene.complete(asked, 'Not with this token.', { token: 'a-wrong-callback-token' });
  const reply = await scene.complete(asked, 'the answer of the agent');
  await scene.ended(reply.body.runs[0].id);
  await deliver(scene.path, { secret: 'a-forgers-secret', event: 'ping', payload: { zen: 'forged payload text' } });
  await hub.api('GET', '/api/v1/events?q=what-somebody-searched', undefined, { as: 'a-wrong-admin-token' });
  await hub.api('POST', '/api/v1/connections', { integration: 'github', config: { app_id: 'x', private_key: 'not-a-private-key' } });
  await until('the request to be logged', () => hub.logs().some((line) => line.includes(trace)));

  const forbidden = {
    ...hub.settings,
    'the key itself': hub.settings.PATCHBAY_ENCRYPTION_KEYS.slice(3),
    'the secret of the connection': scene.secret,
    'the private key': scene.key.pkcs1.split('\n')[3],
    'an installation token': 'ghs_',
    'a JWT': 'eyJ',
    'the callback token': asked.message.data.callback.token,
    'the destination\'s secret': scene.destination.secret.slice(6),
    'a signature': asked.headers['webhook-signature'].slice(3),
    'a signature of GitHub': 'sha256=',
    'a comment': 'question of a customer',
    'an answer': 'answer of the agent',
    'a reply of GitHub': 'must stay out',
    'a forged payload': 'forged payload text',
    'a wrong token': 'a-wrong-',
    'a wrong key': 'not-a-private-key',
    'a search': 'somebody-searched',
    'a person': 'alice',
  };
  // Not secrets, though they are settings.
  delete forbidden.PATCHBAY_PUBLIC_URL;
  delete forbidden.PATCHBAY_ALLOW_PRIVATE_NETWORK;

  const lines = hub.logs();
  for (const line of lines) {
    assert.equal(typeof parsed(line), 'object', line);
    for (const [name, text] of Object.entries(forbidden)) assert.ok(!line.includes(text), `${name} is in the log: ${line}`);
  }
  const requests = lines.map(parsed).filter((line) => JSON.stringify(line).includes(trace));
  assert.ok(requests.length >= 1);
  assert.ok(requests.some(({ status }) => status === 202), JSON.stringify(requests));
});

function parsed(line) {
  try { return JSON.parse(line); } catch { return undefined; }
}
