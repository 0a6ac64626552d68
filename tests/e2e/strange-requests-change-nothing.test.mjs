// Every strange request at every management route, from the OpenAPI document: each has its code, none changes anything.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';
import { deliver } from '../support/payloads.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const document = await hub.ok('GET', '/openapi.json');
const resolve = (schema) => (schema?.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)] : schema);
const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods)
  .map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })))
  .filter(({ path, security }) => path.startsWith('/api/v1/') && security.some(({ key }) => key));
const bodied = operations.filter(({ requestBody }) => requestBody);
const content = ({ requestBody }) => requestBody.content['application/json'];
const lists = operations.filter(({ parameters = [] }) => parameters.some(({ $ref }) => $ref?.endsWith('/cursor')));

// Something of each kind, so that a change has something to change and a list has a second page.
const destination = { name: 'd', url: 'http://127.0.0.1:9/', event_types: ['x.*'] };
const made = {};
for (const _ of [1, 2]) {
  made.destinations = await hub.ok('POST', '/api/v1/destinations', destination);
  made.connections = await hub.ok('POST', '/api/v1/connections', { integration: 'github', config: { webhook_secret: 's' } });
  made.polls = await hub.ok('POST', '/api/v1/polls', { integration: 'rss-reader', trigger: 'new_entries', inputs: { feeds: ['https://feeds.example.com/all.xml'] } });
  // One that waits shows for how long.
  await hub.ok('PATCH', `/api/v1/polls/${made.polls.id}`, { paused: true });
  made.keys = await hub.ok('POST', '/api/v1/keys', { name: 'k', scopes: ['events:read'] });
}
// The same in other words.
made['integration-instances'] = made.connections;
const delivered = await deliver(hub.url + made.connections.webhook_path, { secret: 's', event: 'ping', payload: '{}' });
made.events = { id: delivered.body.id };
await until('the event to be dispatched', async () => (await hub.ok('GET', `/api/v1/events/${made.events.id}`)).status === 'dispatched');
const target = (path) => path.replace('{id}', made[path.split('/')[3]]?.id ?? 'id_1').replaceAll(/\{\w+\}/g, 'x');
const everything = async () => JSON.stringify(await Promise.all(lists.map(({ path }) => hub.ok('GET', `${path}?limit=200`))));

function assertProblem({ status, body, headers }, wanted, code, what) {
  assert.deepEqual([status, body?.code], [wanted, code], `${what}: ${JSON.stringify(body)}`);
  assert.match(headers.get('content-type'), /^application\/problem\+json/, what);
}

/** Asks, sees the problem, and sees that nothing else has changed. */
async function refuses(name, requests) {
  test(name, async () => {
    const before = await everything();
    assert.ok(requests.length > 0);
    for (const [what, { method, path, body, headers }, status, code, pointer] of requests) {
      const reply = await hub.api(method, path, body, { headers });
      assertProblem(reply, status, code, `${method} ${path.slice(0, 100)}, ${what}`);
      if (pointer !== undefined) assert.equal(reply.body.errors[0].pointer, pointer, `${method} ${path}, ${what}: ${JSON.stringify(reply.body)}`);
    }
    assert.equal(await everything(), before);
  });
}

const texts = {
  'empty': '',
  'not JSON': 'Hello',
  'cut off': '{"name":',
  'two documents': '{}{}',
  'a byte order mark': '\ufeff{}',
  'a member twice': '{"name":"a","name":"a"}',
  'a member twice, further in': '{"config":{"a":[{"b":1,"b":1}]}}',
  '10,000 levels': `{"config":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
  'a number beyond 2^53': '{"name":9007199254740993}',
  'a number beyond all': '{"name":1e999}',
  'a lone surrogate': '{"name":"\\ud800"}',
  'NUL': '{"name":"a\\u0000b"}',
  'NUL in a name': '{"a\\u0000":1}',
  'a list': '[]',
  'the members as a list': '["a"]',
  'null': 'null',
};
refuses('a body that is not one JSON object, read in one way by all', bodied.flatMap(({ method, path }) => Object.entries(texts)
  .map(([what, body]) => [what, { method, path: target(path), body }, 400, 'VALIDATION_ERROR'])));

refuses('a body of another media type', bodied.flatMap(({ method, path, ...operation }) => ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', '']
  .map((type) => [type, { method, path: target(path), body: JSON.stringify(content(operation).example), headers: { 'content-type': type } }, 415, 'UNSUPPORTED_MEDIA_TYPE'])));

const HUGE = 30 * 1024 * 1024;
async function* unfinished(bytes) {
  yield Buffer.alloc(bytes, ' ');
  await new Promise(() => {});
}
test('a body of 30 MB is refused before its end has come', async () => {
  const before = await everything();
  for (const { method, path } of bodied) {
    for (const [length, bytes] of [[['content-length', HUGE], 10], [['transfer-encoding', 'chunked'], 1024 * 1024 + 1]]) {
      const headers = [['authorization', `Bearer ${hub.settings.PATCHBAY_ADMIN_TOKEN}`], ['content-type', 'application/json'], length];
      const { status, body } = await send(hub.url + target(path), { method, headers, body: unfinished(bytes) });
      assert.deepEqual([status, body.code], [413, 'PAYLOAD_TOO_LARGE'], `${method} ${path}, ${length}`);
    }
  }
  assert.equal(await everything(), before);
});

// A manifest is checked by rules of its own, and says where in its own words.
const described = bodied.filter((operation) => resolve(content(operation).schema).additionalProperties === false);
refuses('a member that does not exist', described.map(({ method, path, ...operation }) => [
  'surplus', { method, path: target(path), body: { ...content(operation).example, surplus: 1 } }, 400, 'VALIDATION_ERROR', '/surplus',
]));

const values = { null: null, boolean: true, number: 0.5, string: 'a text', array: [[]], object: { a: {} } };
const typesOf = (schema) => [schema?.type ?? schema?.anyOf?.flatMap((one) => typesOf(resolve(one))) ?? Object.keys(values)].flat();
refuses('a member of another type', described.flatMap(({ method, path, ...operation }) => {
  const { schema, example } = content(operation);
  return Object.entries(resolve(schema).properties).flatMap(([name, own]) => Object.entries(values)
    .filter(([type]) => own.enum === undefined && !typesOf(resolve(own)).includes(type) && !typesOf(resolve(own)).includes('object'))
    .map(([type, value]) => [`${name} as ${type}`, { method, path: target(path), body: { ...example, [name]: value } }, 400, 'VALIDATION_ERROR']));
}));

const ULID = '0'.repeat(26);
const ids = (kind) => ['x', `${kind}_${ULID}`, `${kind === 'key' ? 'dst' : 'key'}_${ULID}`, `${kind}_${ULID}0`, `${kind}_${ULID.slice(1)}é`, 'x'.repeat(10_000),
  "';drop%20table%20event;--", '%00', '..%2f..', '{{7*7}}', 'null'];
refuses('an id that is nobody\'s', operations.filter(({ path }) => path.includes('{id}')).flatMap(({ method, path, ...operation }) => {
  const kind = /\^(\w+)_\[/.exec(operation.parameters.find(({ name }) => name === 'id').schema.pattern)?.[1] ?? 'x';
  return ids(kind).map((id) => [id.slice(0, 60), {
    method,
    path: path.replace('{id}', id).replaceAll(/\{\w+\}/g, 'x'),
    body: operation.requestBody && content(operation).example,
  }, 404, 'NOT_FOUND']);
}));

test('an id that was deleted', async () => {
  for (const kind of ['destinations', 'connections', 'keys']) {
    const again = { destinations: destination, keys: { name: 'k', scopes: ['admin'] }, connections: { integration: 'github', config: { webhook_secret: 's' } } };
    const { id } = await hub.ok('POST', `/api/v1/${kind}`, again[kind]);
    await hub.ok('DELETE', `/api/v1/${kind}/${id}`);
    for (const method of ['GET', 'DELETE']) assertProblem(await hub.api(method, `/api/v1/${kind}/${id}`), 404, 'NOT_FOUND', kind);
    assertProblem(await hub.api('PATCH', `/api/v1/${kind}/${id}`, { name: 'n' }), 404, 'NOT_FOUND', kind);
  }
});

const foreign = (await hub.ok('GET', '/api/v1/destinations?limit=1')).next_cursor;
const own = (await hub.ok('GET', '/api/v1/keys?limit=1')).next_cursor;
const forged = (text) => Buffer.from(text).toString('base64url');
const queries = [
  'limit=-1', 'limit=0', 'limit=201', 'limit=1e2', 'limit=many', 'limit=', 'limit=99999999999999999999', 'limit=5&limit=5', 'cursor=x', 'cursor=%00',
  `cursor=${forged(made.keys.id)}`, `cursor=${forged(`${made.keys.id} 0000000000000000`)}`, `cursor=${'x'.repeat(10_000)}`, 'colour=red', 'limit=5%00',
];
refuses('a page that makes no sense', lists.flatMap(({ path }) => [...queries, `cursor=${path.endsWith('/destinations') ? own : foreign}`]
  .map((query) => [query.slice(0, 60), { method: 'GET', path: `${path}?${query}` }, 400, 'VALIDATION_ERROR'])));

test('a cursor is good for its own list, with its own filters', async () => {
  assert.equal((await hub.ok('GET', `/api/v1/destinations?limit=1&cursor=${foreign}`)).data.length, 1);
  for (const service of ['a', 'b', "' OR 1=1 --"]) await hub.ok('GET', `/api/v1/events?service=${encodeURIComponent(service)}`);
  const other = (await hub.ok('GET', '/api/v1/connections?limit=1')).next_cursor;
  assertProblem(await hub.api('GET', `/api/v1/events?cursor=${other}`), 400, 'VALIDATION_ERROR', 'another kind');
});

const hostile = ["'; DROP TABLE destination; --", '" OR ""="', '{{ 7 * 7 }}', '${7*7}', '{% for x in (1..9) %}', '%s%n', '../../etc/passwd', '<script>alert(1)</script>', '\u202e\u200b', '😀'.repeat(50)];
test('SQL, templates and markup are texts like any other', async () => {
  for (const text of hostile) {
    const cases = {
      destinations: { ...destination, name: text, owner: text, event_types: [text] },
      connections: { integration: 'github', name: text, owner: text, config: { webhook_secret: text } },
      keys: { name: text, scopes: ['events:read'], owner: text },
    };
    for (const [kind, body] of Object.entries(cases)) {
      const { id } = await hub.ok('POST', `/api/v1/${kind}`, body);
      const shown = await hub.ok('GET', `/api/v1/${kind}/${id}`);
      assert.deepEqual([shown.name, shown.owner], [text, text]);
    }
    for (const name of ['service', 'type', 'q']) assert.deepEqual((await hub.ok('GET', `/api/v1/events?${name}=${encodeURIComponent(text)}`)).data, []);
  }
  assert.equal((await hub.ok('GET', '/readyz')).status, 'ok');
});
