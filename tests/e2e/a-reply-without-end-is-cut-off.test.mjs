// A reply without end costs the hub no more than its limit: however small it is on its way, and whoever sends it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { brotliCompressSync, createGzip, constants } from 'node:zlib';
import { startHub } from '../support/hub.mjs';

const MIB = 1024 * 1024;
const GIB = 1024;

/** A gibibyte of zeros, as gzip: about a megabyte. */
async function gzipped() {
  const zip = createGzip({ level: constants.Z_BEST_SPEED });
  const chunks = [];
  zip.on('data', (chunk) => chunks.push(chunk));
  const zeros = Buffer.alloc(16 * MIB);
  for (let sent = 0; sent < GIB; sent += 16) {
    if (!zip.write(zeros)) await once(zip, 'drain');
  }
  zip.end();
  await once(zip, 'end');
  return Buffer.concat(chunks);
}

const bombs = {
  '/gzip': ['gzip', await gzipped()],
  '/brotli': ['br', brotliCompressSync(Buffer.alloc(128 * MIB), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })],
};
let streamed = 0;
const server = createServer((request, response) => {
  request.resume();
  const path = new URL(request.url, 'http://bomb').pathname.replace(/^\/oauth/, '');
  if (bombs[path]) {
    const [encoding, body] = bombs[path];
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding, 'content-length': body.length });
    return void response.end(body);
  }
  if (path === '/endless') {
    response.writeHead(200, { 'content-type': 'application/json' });
    const chunk = Buffer.alloc(MIB, ' ');
    const more = () => {
      while (!response.destroyed && streamed < GIB) {
        streamed += 1;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
      response.end();
    };
    return void more();
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"up": true}');
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;
const hub = await startHub();
after(async () => {
  await hub.close();
  server.close();
  server.closeAllConnections();
});

const call = (path) => hub.api('POST', '/api/v1/integrations/api-fetch/actions/call_api', { inputs: { url: `${url}${path}` } });

test('the bombs are what they say', () => {
  for (const [, body] of Object.values(bombs)) assert.ok(body.length < 8 * MIB, `${body.length}`);
});

for (const path of ['/gzip', '/brotli', '/endless']) {
  test(`an action is not answered with what ${path} unpacks to`, async () => {
    const { status, body } = await call(path);

    assert.deepEqual([status, body.code], [502, 'UPSTREAM_ERROR'], JSON.stringify(body));
    assert.match(body.detail, /larger than 10485760 bytes/);
    assert.ok(streamed < GIB / 4, `${streamed} MiB were taken`);
    const next = await call('/fine');
    assert.deepEqual([next.status, next.body.data], [200, { data: { up: true } }]);
  });

  test(`nor is a sign-in with ${path}`, async () => {
    const made = await hub.ok('POST', '/api/v1/integration-definitions', {
      name: `bomb${path.replace('/', '-')}`, authType: 'oauth2', baseUrl: url, methods: [{ name: 'm' }],
      oauth2Config: { authorizationUrl: `${url}/authorize`, tokenUrl: `${url}/oauth${path}`, authStyle: 'body' },
    });
    const config = { clientId: 'test-client', clientSecret: 'test-secret', redirectUri: 'https://your-app.example.com/cb' };
    const { id } = await hub.ok('POST', '/api/v1/integration-instances', { integrationDefinitionId: made.id, config });
    const of = `/api/v1/integration-instances/${id}`;
    const { state } = await hub.ok('POST', `${of}/auth/oauth2/start`, { redirectUri: config.redirectUri });

    const { status, body } = await hub.api('POST', `${of}/auth/oauth2/callback`, { code: 'code', state });

    assert.ok(status === 502 || status === 503, JSON.stringify(body));
    assert.equal((await hub.ok('GET', `${of}/health`)).status, 'PENDING_AUTHENTICATION');
  });
}
