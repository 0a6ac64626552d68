// What every reply has, whoever asks: traces, security headers, HEAD, OPTIONS, CORS, pages about errors, the document.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';

const PAGE = 'https://console.example.com';
const hub = await startHub({ PATCHBAY_CORS_ORIGINS: `${PAGE}, https://other.example.com` });
after(() => hub.close());

const bearer = ['authorization', `Bearer ${hub.settings.PATCHBAY_ADMIN_TOKEN}`];
const ask = (method, path, headers = []) => send(`${hub.url}${path}`, { method, headers });

test('every reply has a trace id and the usual security headers, and is not to be stored', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const traceparent = ['traceparent', `00-${trace}-00f067aa0ba902b7-01`];
  for (const [method, path] of [['GET', '/api/v1/events'], ['GET', '/api/v1/nothing'], ['PUT', '/api/v1/events'], ['GET', '/healthz']]) {
    const { headers } = await ask(method, path, [bearer, traceparent]);
    assert.equal(headers['x-trace-id'], trace, path);
    assert.equal(headers['x-content-type-options'], 'nosniff', path);
    assert.equal(headers['referrer-policy'], 'no-referrer', path);
    assert.match(headers['content-security-policy'], /default-src 'none'/, path);
    assert.match(headers['strict-transport-security'], /max-age/, path);
    assert.equal(headers['cache-control'], 'no-store', path);
  }
});

test('HEAD has the head of GET', async () => {
  for (const path of ['/api/v1/events', '/openapi.json', '/healthz']) {
    const [head, get] = await Promise.all(['HEAD', 'GET'].map((method) => ask(method, path, [bearer])));
    assert.deepEqual([head.status, head.bytes.length, head.headers['content-type']], [200, 0, get.headers['content-type']], path);
  }
});

test('OPTIONS says which methods there are, to anybody', async () => {
  const { status, headers } = await ask('OPTIONS', '/api/v1/keys/key_00000000000000000000000000');
  assert.equal(status, 204);
  assert.deepEqual(headers.allow.split(', ').sort(), ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH']);
});

test('a page of a named origin may ask, and read what concerns it', async () => {
  const preflight = await ask('OPTIONS', '/api/v1/keys', [
    ['origin', PAGE], ['access-control-request-method', 'POST'], ['access-control-request-headers', 'authorization,content-type'],
  ]);
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-origin'], PAGE);
  assert.match(preflight.headers['access-control-allow-methods'], /POST/);
  for (const name of ['authorization', 'content-type', 'idempotency-key']) assert.match(preflight.headers['access-control-allow-headers'], new RegExp(name));
  assert.equal(preflight.headers['access-control-allow-credentials'], undefined);

  for (const path of ['/api/v1/keys', '/api/v1/nothing', '/api/v1/events?limit=0']) {
    const { headers } = await ask('GET', path, [bearer, ['origin', PAGE]]);
    assert.equal(headers['access-control-allow-origin'], PAGE, path);
    assert.match(headers['access-control-expose-headers'], /x-trace-id/, path);
    assert.match(headers.vary, /origin/i, path);
  }
});

test('a page of another origin may not, and webhooks are for no page', async () => {
  for (const origin of ['https://evil.example', 'null', `${PAGE}.evil.example`, PAGE.replace('https', 'http')]) {
    const { headers } = await ask('GET', '/api/v1/keys', [bearer, ['origin', origin]]);
    assert.equal(headers['access-control-allow-origin'], undefined, origin);
  }
  const delivery = await ask('OPTIONS', '/webhooks/github/', [['origin', PAGE], ['access-control-request-method', 'POST']]);
  assert.equal(delivery.headers['access-control-allow-origin'], undefined);
});

test('a problem leads to a page that explains it', async () => {
  const { body } = await ask('GET', '/api/v1/events?limit=0', [bearer]);

  const page = await ask('GET', body.type);

  assert.equal(page.status, 200);
  assert.match(page.headers['content-type'], /^text\/plain/);
  assert.match(page.body, /^VALIDATION_ERROR \(400\)/);
  assert.match(page.body, /Do: /);
  assert.equal((await ask('GET', '/problems/NOTHING')).status, 404);
});

test('the document names every route with its scope', async () => {
  const { body } = await ask('GET', '/openapi.json');

  assert.equal(body.openapi, '3.1.0');
  assert.deepEqual(body.paths['/api/v1/keys'].post.security, [{ key: ['admin'] }]);
  assert.ok(Object.keys(body.paths).length > 20);
});
