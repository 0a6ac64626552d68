// Whatever is wrong with a request, the answer says so, says what to do, and changes nothing.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';
import { appKey } from '../support/keys.mjs';
import { deliver, signature } from '../support/payloads.mjs';
import { openScene } from '../support/scene.mjs';

const CAP = 20_000;
const hub = await startHub({ PATCHBAY_MAX_BODY_BYTES: String(CAP) });
after(() => hub.close());

const route = `${hub.url}/api/integration/github/events`;
const secret = hub.settings.GITHUB_WEBHOOK_SECRET;
const config = { app_id: '1', private_key: appKey().pkcs1, webhook_secret: 's' };

/** Every problem has the same form, and nothing secret in it. */
function assertProblem({ status, headers, body }, wanted, code, name) {
  const header = (key) => (headers.get ? headers.get(key) : headers[key]);
  assert.equal(status, wanted, `${name}: ${JSON.stringify(body)}`);
  assert.match(header('content-type'), /^application\/problem\+json/, name);
  assert.equal(body.code, code, name);
  assert.equal(body.status, wanted, name);
  assert.ok(body.title && body.detail && body.type, name);
  assert.match(body.trace_id, /^[0-9a-f]{32}$/, name);
  assert.equal(header('x-trace-id'), body.trace_id, name);
  assert.doesNotMatch(JSON.stringify(body), /[0-9a-f]{64}/, `${name}: is that the expected signature?`);
}

test('a signature that is missing or not exactly right is refused, and nothing is stored', async () => {
  const body = '{"zen":"Half measures are as bad as nothing at all."}';
  const good = await signature(secret, body);
  const sha1 = 'sha1=0123456789abcdef0123456789abcdef01234567';
  const cases = {
    'none': [],
    'empty': [['x-hub-signature-256', '']],
    'the prefix alone': [['x-hub-signature-256', 'sha256=']],
    'no prefix': [['x-hub-signature-256', good.slice(7)]],
    'another prefix': [['x-hub-signature-256', `sha512=${good.slice(7)}`]],
    'truncated': [['x-hub-signature-256', good.slice(0, -2)]],
    'longer': [['x-hub-signature-256', `${good}00`]],
    'upper-case digits': [['x-hub-signature-256', `sha256=${good.slice(7).toUpperCase()}`]],
    'upper-case throughout': [['x-hub-signature-256', good.toUpperCase()]],
    'not hexadecimal': [['x-hub-signature-256', `sha256=${'z'.repeat(64)}`]],
    'not ASCII': [['x-hub-signature-256', 'sha256=\xfc\xfc']],
    'of the old kind alone': [['x-hub-signature', sha1]],
    'right, in the header of the old kind': [['x-hub-signature', good]],
    'a list': [['x-hub-signature-256', `${good}, ${good}`]],
    'twice, both right': [['x-hub-signature-256', good], ['x-hub-signature-256', good]],
    'twice, first wrong': [['x-hub-signature-256', `sha256=${'0'.repeat(64)}`], ['x-hub-signature-256', good]],
    'twice, second wrong': [['x-hub-signature-256', good], ['x-hub-signature-256', `sha256=${'0'.repeat(64)}`]],
    'with another secret': [['x-hub-signature-256', await signature('another', body)]],
    'with an empty secret': [['x-hub-signature-256', await signature(' ', body)]],
  };

  for (const [name, headers] of Object.entries(cases)) {
    const reply = await send(route, {
      headers: [['content-type', 'application/json'], ['x-github-delivery', crypto.randomUUID()], ['x-github-event', 'ping'], ...headers],
      body,
    });
    assertProblem(reply, 401, 'SIGNATURE_INVALID', name);
    assert.ok(!reply.bytes.includes(good.slice(7)), name);
  }
  assert.deepEqual((await hub.ok('GET', '/api/v1/events')).data, []);
});

const deep = (levels) => '['.repeat(levels) + ']'.repeat(levels);
const unparsable = {
  'not UTF-8': Buffer.from([0x7b, 0xff, 0x7d]),
  'not JSON': 'Hello, World!',
  'truncated JSON': '{"action":"created"',
  'JSON with something after it': '{} {}',
  'nested 5,000 levels deep': deep(5_000),
  'nested deep inside objects': '{"a":'.repeat(3_000) + '1' + '}'.repeat(3_000),
  'empty': '',
};
for (const [name, payload] of Object.entries(unparsable)) {
  test(`a signed body that is ${name} is kept as unparsable: GitHub need not try again`, async () => {
    const reply = await deliver(route, { secret, event: 'push', payload });

    assert.equal(reply.status, 202, String(reply.bytes));
    const event = await hub.ok('GET', `/api/v1/events/${reply.body.id}`);
    assert.equal(event.type, 'github.unparsable');
    assert.deepEqual((await hub.api('GET', `/api/v1/events/${reply.body.id}/payload`)).bytes, Buffer.from(payload));
  });
}

test('JSON that is not an object is no reason to fail', async () => {
  for (const payload of ['null', '[]', '1', '"text"', 'true']) {
    assert.equal((await deliver(route, { secret, event: 'push', payload })).status, 202, payload);
  }
});

test('fields of another type than expected are no reason to fail', async () => {
  const payloads = [
    { action: 7 }, { action: {} }, { action: 'created', comment: null }, { action: 'created', comment: 'x', issue: [] },
    { action: 'created', comment: { body: 5 }, issue: { number: 'three' }, repository: { full_name: {} }, sender: 'alice' },
    { action: 'created', comment: { body: '@patchbay' }, issue: { number: 1e300 }, repository: { full_name: '../..' }, sender: { login: '../x' }, installation: { id: '1/../2' } },
  ];
  for (const payload of payloads) {
    assert.equal((await deliver(route, { secret, event: 'issue_comment', payload })).status, 202, JSON.stringify(payload));
  }
});

test('a delivery without an id or an event name is kept too', async () => {
  const body = '{"zen":"Responsive is better than fast."}';
  const signed = ['x-hub-signature-256', await signature(secret, body)];
  for (const headers of [[signed], [signed, ['x-github-event', 'ping']], [signed, ['x-github-delivery', crypto.randomUUID()]]]) {
    assert.equal((await send(route, { headers, body })).status, 202);
  }
});

test('a body over the cap is refused, one at the cap is not', async () => {
  const sized = (length) => JSON.stringify({ pad: 'x'.repeat(length - 10) });
  assert.equal(sized(CAP).length, CAP);

  assert.equal((await deliver(route, { secret, event: 'push', payload: sized(CAP) })).status, 202);
  assertProblem(await deliver(route, { secret, event: 'push', payload: sized(CAP + 1) }), 413, 'PAYLOAD_TOO_LARGE', 'one byte more');
});

test('a body over the cap is refused before its end has come', async () => {
  async function* unfinished(bytes) {
    yield 'x'.repeat(bytes);
    await new Promise(() => {});
  }
  const cases = {
    'one that says how long it is': [['content-length', CAP + 1], 10],
    'one that does not': [['transfer-encoding', 'chunked'], CAP + 1],
  };

  for (const [name, [header, bytes]] of Object.entries(cases)) {
    const reply = await send(route, { headers: [header, ['x-hub-signature-256', `sha256=${'0'.repeat(64)}`]], body: unfinished(bytes) });
    assertProblem(reply, 413, 'PAYLOAD_TOO_LARGE', name);
  }
});

test('what is not there is 404, a wrong method 405 with the right ones', async () => {
  const missing = [
    ['POST', '/api/integration/nosuch/events', 'INTEGRATION_NOT_FOUND'],
    ['POST', '/api/integration/github/events/con_00000000000000000000000000', 'NOT_FOUND'],
    ['POST', '/api/integration/github/events/con_1/more', 'NOT_FOUND'],
    ['POST', '/api/integration/..%2Fgithub/events', 'INTEGRATION_NOT_FOUND'],
    ['GET', '/nothing', 'NOT_FOUND'],
    ['GET', '/api/v1/nothing', 'NOT_FOUND'],
    ['GET', '/api/v1/events/evt_00000000000000000000000000', 'NOT_FOUND'],
    ['GET', '/api/v1/events/evt_00000000000000000000000000/payload', 'NOT_FOUND'],
    ['GET', "/api/v1/events/';drop%20table%20events;--", 'NOT_FOUND'],
    ['GET', '/api/v1/runs/run_00000000000000000000000000', 'NOT_FOUND'],
    ['POST', '/api/v1/deliveries/dlv_00000000000000000000000000/retry', 'NOT_FOUND'],
    ['GET', '/api/v1/connections/con_00000000000000000000000000', 'NOT_FOUND'],
    ['DELETE', '/api/v1/destinations/dst_00000000000000000000000000', 'NOT_FOUND'],
  ];
  for (const [method, path, code] of missing) {
    const reply = await hub.api(method, path, method === 'POST' ? {} : undefined);
    assertProblem(reply, 404, code, `${method} ${path}`);
  }

  const wrong = [
    ['GET', '/api/integration/github/events', ['POST']],
    ['PUT', '/api/integration/github/events', ['POST']],
    ['DELETE', '/api/v1/webhooks', ['POST']],
    ['PUT', '/api/v1/connections', ['GET', 'POST']],
    ['POST', '/healthz', ['GET']],
  ];
  for (const [method, path, allowed] of wrong) {
    const reply = await hub.api(method, path);
    assertProblem(reply, 405, 'METHOD_NOT_ALLOWED', `${method} ${path}`);
    const allow = reply.headers.get('allow').split(/,\s*/);
    for (const one of allowed) assert.ok(allow.includes(one), `${method} ${path}: ${allow}`);
    assert.ok(!allow.includes(method));
  }
});

test('the management API is for those with the token', async () => {
  const tokens = { none: null, wrong: 'x'.repeat(32), shorter: hub.settings.PATCHBAY_ADMIN_TOKEN.slice(0, -1), longer: `${hub.settings.PATCHBAY_ADMIN_TOKEN}x` };
  for (const [name, as] of Object.entries(tokens)) {
    for (const path of ['/api/v1/events', '/api/v1/connections', '/api/v1/destinations', '/api/v1/deliveries', '/api/v1/runs']) {
      assertProblem(await hub.api('GET', path, undefined, { as }), 401, 'AUTHENTICATION_ERROR', `${name} at ${path}`);
    }
    assertProblem(await hub.api('POST', '/api/v1/connections', { integration: 'github', config }, { as }), 401, 'AUTHENTICATION_ERROR', name);
  }
  assert.deepEqual((await hub.ok('GET', '/api/v1/connections')).data, []);
});

const destination = { name: 'd', url: 'http://127.0.0.1:9/', event_types: ['github.*'], role: 'subscriber' };
const invalid = {
  '/api/v1/connections': {
    'not an object': [],
    'no integration': { config },
    'no fields, where they are asked for': { integration: 'github', auth: 'fields' },
    'no app_id': { integration: 'github', config: { ...config, app_id: undefined } },
    'app_id of another type': { integration: 'github', config: { ...config, app_id: 5 } },
    'an empty private key': { integration: 'github', config: { ...config, private_key: '' } },
    'a field that does not exist': { integration: 'github', config: { ...config, colour: 'red' } },
  },
  '/api/v1/destinations': {
    'no name': { ...destination, name: undefined },
    'no URL': { ...destination, url: undefined },
    'no event types': { ...destination, event_types: undefined },
    'event types of another type': { ...destination, event_types: 'github.*' },
    'a role that does not exist': { ...destination, role: 'admin' },
  },
};
for (const [path, cases] of Object.entries(invalid)) {
  test(`${path} says what is wrong with its input, and makes nothing of it`, async () => {
    for (const [name, body] of Object.entries(cases)) {
      const reply = await hub.api('POST', path, body);
      assertProblem(reply, 400, 'VALIDATION_ERROR', name);
      assert.ok(!JSON.stringify(reply.body).includes('PRIVATE KEY'), name);
    }
    assertProblem(await hub.api('POST', path, '{"name":'), 400, 'VALIDATION_ERROR', 'not JSON');
    assertProblem(await hub.api('POST', path, '{}', { headers: { 'content-type': 'text/plain' } }), 415, 'UNSUPPORTED_MEDIA_TYPE', 'not said to be JSON');
    assert.deepEqual((await hub.ok('GET', path)).data, []);
  });
}

test('a schema failure points at the place', async () => {
  const { body } = await hub.api('POST', '/api/v1/connections', { integration: 'github', config: { ...config, app_id: 5 } });

  assert.ok(body.errors.length > 0, JSON.stringify(body));
  for (const { pointer, message, source } of body.errors) {
    assert.match(pointer, /app_id/);
    assert.ok(message);
    assert.equal(source, 'config');
  }
});

test('a destination needs a URL that can be posted to', async () => {
  for (const url of ['nowhere', '', 'file:///etc/passwd', 'javascript:alert(1)', 'http://', 'http://user:password@example.com/', 'http://a b/']) {
    const { status, body } = await hub.api('POST', '/api/v1/destinations', { ...destination, url });
    assert.ok(status === 400 || status === 403, `${url} was answered ${status}`);
    assert.match(body.detail, /url/i);
  }
  assert.deepEqual((await hub.ok('GET', '/api/v1/destinations')).data, []);
});

test('a connection to an integration that does not exist is refused', async () => {
  assertProblem(await hub.api('POST', '/api/v1/connections', { integration: 'nosuch', config: {} }), 404, 'INTEGRATION_NOT_FOUND', 'nosuch');
});

test('lists refuse limits and cursors that make no sense', async () => {
  for (const query of ['limit=0', 'limit=201', 'limit=-1', 'limit=many', 'cursor=!!', 'since=yesterday']) {
    assertProblem(await hub.api('GET', `/api/v1/events?${query}`), 400, 'VALIDATION_ERROR', query);
  }
});

test('the callback says what is wrong with an answer', async (t) => {
  const scene = await openScene(t, hub);
  const asked = await scene.ask();
  const cases = [
    [{ status: 'done', message: 'x' }, 400, 'VALIDATION_ERROR'],
    [{ message: 'x' }, 400, 'VALIDATION_ERROR'],
    [{ status: 'completed', message: 5 }, 400, 'VALIDATION_ERROR'],
    [{ status: 'completed', message: 'x', actions: 'all' }, 400, 'VALIDATION_ERROR'],
    [{ status: 'completed', message: 'x', actions: [{}] }, 400, 'VALIDATION_ERROR'],
  ];

  for (const [reply, status, code] of cases) assertProblem(await scene.answer(asked, reply), status, code, JSON.stringify(reply));
  for (const token of ['', 'wrong']) assertProblem(await scene.complete(asked, 'x', { token }), 401, 'AUTHENTICATION_ERROR', `token "${token}"`);
  assert.deepEqual(scene.github.comments(scene.repo, 1), []);
});

test('HEAD and OPTIONS behave', async () => {
  const head = await send(`${hub.url}/healthz`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.bytes.length], [200, 0]);

  const options = await send(`${hub.url}/api/v1/connections`, { method: 'OPTIONS' });
  assert.ok([200, 204].includes(options.status));
  assert.match(options.headers.allow ?? '', /POST/);
  assert.equal(options.headers['access-control-allow-origin'], undefined);
});
