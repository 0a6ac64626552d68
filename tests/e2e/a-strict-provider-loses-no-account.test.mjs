// Tokens of a provider that rotates refresh tokens without leeway: one request however many come at once, an account that
// survives every stumble that left it alive, and a clear word about one that it did not.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { SETTINGS, startHub } from '../support/hub.mjs';
import { startServer } from '../support/server.mjs';
import { connectStrictly, startStrictProvider } from '../support/strict-provider.mjs';
import { until } from '../support/until.mjs';
import { makePlace, startWrangler } from '../support/wrangler-dev.mjs';

const provider = await startStrictProvider();
const listener = await startServer(() => ({ status: 204 }));
const hub = await startHub();
after(async () => {
  await hub.close();
  provider.close();
  listener.close();
});
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
const told = (id) => listener.requests.map(({ body }) => JSON.parse(body)).filter(({ data }) => JSON.stringify(data).includes(id));
const listen = (hub) => hub.ok('POST', '/api/v1/destinations', {
  name: 'listener', url: listener.url, event_types: ['hub.connection.*'], role: 'subscriber',
});

suite('with a hub that lives', { concurrency: true }, () => {
  test('fifty actions on a token that is over make one request, and none fails', async () => {
    const { account, whose } = await connectStrictly(hub, provider, 'crowd');
    await pause(1);

    const all = await Promise.all(Array.from({ length: 50 }, () => whose()));

    assert.deepEqual([...new Set(all.map(({ status, body }) => `${status} ${JSON.stringify(body)}`))], ['200 {"data":{"name":"crowd"},"status":"SUCCESS"}']);
    assert.deepEqual([account.calls, account.serial], [1, 2]);
  });

  const html = { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>maintenance</html>' };
  const stumbles = {
    'a 500': [{ answer: { status: 500, body: { error: 'server_error' } } }, 503, 'TEMPORARY_ERROR'],
    'no connection': [{ drop: true }, 503, 'TEMPORARY_ERROR'],
    'half a document': [{ answer: { status: 200, headers: { 'content-type': 'application/json' }, body: '{"access_token": "x' } }, 502, 'UPSTREAM_ERROR'],
    'a page': [{ answer: html }, 502, 'UPSTREAM_ERROR'],
    'no token': [{ answer: { status: 200, body: { ok: true } } }, 502, 'UPSTREAM_ERROR'],
    'an error in a 200': [{ answer: { status: 200, body: { error: 'temporarily_unavailable' } } }, 503, 'TEMPORARY_ERROR'],
    'a refusal of the app': [{ answer: { status: 401, body: { error: 'invalid_client' } } }, 502, 'UPSTREAM_ERROR'],
    'nothing for twenty seconds': [{ hold: () => pause(20), answer: { status: 500, body: {} } }, 503, 'TEMPORARY_ERROR'],
  };
  for (const [what, [{ hold, ...fault }, status, code]] of Object.entries(stumbles)) {
    test(`${what} costs time and not the account`, async () => {
      const name = what.replaceAll(' ', '-');
      const { account, whose, health } = await connectStrictly(hub, provider, name);
      await pause(1);
      provider.fail({ path: new RegExp(`^/token/${name}$`), hold: hold?.(), ...fault });

      const failed = await whose();
      const meanwhile = await health();
      const later = await until(`the account "${name}" to act`, async () => {
        const reply = await whose();
        return reply.status === 200 ? reply : undefined;
      }, { seconds: 20 });

      assert.deepEqual([failed.status, failed.body.code], [status, code], JSON.stringify(failed.body));
      assert.equal(meanwhile.status, 'CONNECTED');
      assert.deepEqual([later.body.data, account.calls], [{ name }, 1]);
    });
  }

  test('an answer that comes too late is named as what it is, and destinations hear of it', async () => {
    await listen(hub);
    const { id, account, whose, health } = await connectStrictly(hub, provider, 'late');
    await pause(1);
    provider.fail({ path: /^\/token\/late$/, act: true, drop: true });

    const first = await whose();
    await pause(6);
    const second = await whose();

    assert.deepEqual([first.status, second.status, second.body.code], [503, 409, 'REAUTH_REQUIRED']);
    assert.ok(account.dead);
    const { status, last_error } = await health();
    assert.deepEqual([status, last_error.reason], ['REAUTH_REQUIRED', 'lost_rotation']);
    await hub.tick();
    const [event] = await until('the event', () => (told(id).length ? told(id) : undefined));
    assert.equal(event.type, 'hub.connection.expired');
  });
});

test('a hub that dies between the answer and the write says what was lost', async (t) => {
  const place = await makePlace(SETTINGS);
  t.after(() => place.remove());
  let server = await startWrangler(place);
  t.after(() => server.kill());
  await listen(server);
  const { id, account, whose, health } = await connectStrictly(server, provider, 'killed');
  await pause(1);
  let release;
  provider.fail({ path: /^\/token\/killed$/, act: true, drop: true, hold: new Promise((resolve) => { release = resolve; }) });
  const lost = whose().catch((error) => error);
  await until('the provider to be asked', () => provider.requests.some(({ path, body }) => path === '/token/killed' && String(body).includes('grant_type=refresh_token')));

  await server.kill();
  release();
  await lost;
  await until('the provider to have acted', () => account.serial === 2);
  server = await startWrangler(place);
  const reply = await until('the claim to run out', async () => {
    const answer = await whose(server);
    return answer.status === 409 ? answer : undefined;
  }, { seconds: 60 });

  assert.equal(reply.body.code, 'REAUTH_REQUIRED');
  const { status, last_error } = await health(server);
  assert.deepEqual([status, last_error.reason], ['REAUTH_REQUIRED', 'lost_rotation']);
  await server.tick();
  const [event] = await until('the event', () => (told(id).length ? told(id) : undefined));
  assert.deepEqual([event.type, event.data.reason ?? event.data.payload?.reason], ['hub.connection.expired', 'lost_rotation']);
});
