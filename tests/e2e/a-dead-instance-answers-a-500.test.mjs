// The Worker's entry, beside a wasm that dies as a Rust panic makes it die: the promise of its request never settles, and
// the trap surfaces as an `error` event. The real wasm has no way to be made to panic, and shall have none.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const listeners = [];
globalThis.addEventListener = (type, listener) => type === 'error' && listeners.push(listener);
globalThis.dispatchEvent = (event) => listeners.forEach((listener) => listener(event));
globalThis.ErrorEvent = class { constructor(type, { error }) { Object.assign(this, { type, error }); } };
const never = new Promise(() => {});

/** What the wasm does next. */
let behaviour;
globalThis.FakeWasm = class {
  fetch(request) { return behaviour(request); }
  queue(batch) { return behaviour(batch); }
};

const source = readFileSync(new URL('../../src/edge/entry.js', import.meta.url), 'utf8');
const [imported] = source.match(/^import Wasm from .*$/m);
const text = source.replace(imported, 'const Wasm = globalThis.FakeWasm;')
  .replaceAll(/^import { ([\w, ]+) } from .*$/gm, (_, names) => `const [${names}] = Array(9).fill(() => assert.fail("not of this test"));`);
const { default: entry } = await import(`data:text/javascript,${encodeURIComponent(text)}`);

const dies = (error = new WebAssembly.RuntimeError('unreachable')) => listeners.forEach((listener) => listener({ error }));
const request = (method = 'POST') => entry.fetch(new Request('http://hub.example/', { method }), {}, {});

function capturedLog(t) {
  const lines = [];
  t.mock.method(console, 'log', (line) => lines.push(line));
  return lines;
}

test('the request that killed the instance, and those beside it, get a problem with a trace id; the next one works', async (t) => {
  const lines = capturedLog(t);
  behaviour = () => never;
  const pending = [request(), request()];
  await Promise.resolve();

  globalThis.patchbayFault = 'panic at src/somewhere.rs:1:1: (text withheld)';
  dies();

  for (const reply of await Promise.all(pending)) {
    const problem = await reply.json();
    assert.equal(reply.status, 500);
    assert.equal(reply.headers.get('content-type'), 'application/problem+json');
    assert.deepEqual([problem.code, problem.status], ['INTERNAL', 500]);
    assert.match(problem.trace_id, /^[0-9a-f]{32}$/);
    assert.equal(reply.headers.get('x-trace-id'), problem.trace_id);
    assert.doesNotMatch(JSON.stringify(problem), /somewhere/);
    assert.ok(lines.some((line) => JSON.parse(line).trace_id === problem.trace_id));
  }
  assert.ok(lines.some((line) => JSON.parse(line).message.includes('src/somewhere.rs')));
  behaviour = () => Promise.resolve(new Response('ok'));
  assert.equal(await (await request()).text(), 'ok');
});

test('a trap in a microtask of the wasm is an end', async (t) => {
  capturedLog(t);
  behaviour = () => {
    queueMicrotask(() => { throw new WebAssembly.RuntimeError('unreachable'); });
    return never;
  };

  assert.equal((await request()).status, 500);
});

test('a HEAD request gets no body with its 500', async (t) => {
  capturedLog(t);
  behaviour = () => never;
  const pending = request('HEAD');
  await Promise.resolve();
  dies();

  const reply = await pending;
  assert.deepEqual([reply.status, await reply.text()], [500, '']);
});

test('an error that is not the instance\'s end fails no request', async () => {
  let answer;
  behaviour = () => new Promise((resolve) => { answer = resolve; });
  const pending = request();
  await Promise.resolve();
  dies(new TypeError('something else'));
  answer(new Response('still here'));

  assert.equal(await (await pending).text(), 'still here');
});

test('a batch of messages fails as a whole, so that the platform delivers it again', async (t) => {
  capturedLog(t);
  behaviour = () => never;
  const pending = entry.queue({}, {}, {});
  await Promise.resolve();
  dies();

  await assert.rejects(pending);
});
