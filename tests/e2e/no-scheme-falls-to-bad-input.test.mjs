// Whatever is wrong with a delivery, of whichever service: it is refused as the service expects, soon, and the hub goes
// on. Where the signature is right, no body is too odd.
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';
import { inParallel } from '../support/parallel.mjs';
import { connectionForFixture, fakeInternet, fixtures, manifestOf, schemesOf, services } from '../support/vectors.mjs';

/** Near what a runtime lets through in all header fields together: 128 KiB. */
const LONG = 100_000;
const TOLERANCE = 4_000_000_000;

const internet = fakeInternet();
const hub = await startHub();
after(async () => {
  internet.restore();
  await hub.close();
});

const all = fixtures();
const connect = (fixture, config) => hub.ok('POST', '/api/v1/connections', connectionForFixture(fixture, config));

/** One delivery of a service, as bytes. */
function deliveryOf(service) {
  const fixture = all.find((one) => one.service === service && one.expect.events?.length > 0 && one.request.method === 'POST');
  assert.ok(fixture, `${service} has no fixture with an event`);
  const { query = '', headers, body, body_base64: encoded } = fixture.request;
  return { fixture, query, headers, body: encoded ? Buffer.from(encoded, 'base64') : Buffer.from(body ?? '') };
}

const isName = (name) => (header) => header[0].toLowerCase() === name.toLowerCase();

/** The header fields that the scheme of a delivery looks at: those that carry a signature, and those with a time. */
function fieldsOf(service, { headers }) {
  const text = JSON.stringify(schemesOf(manifestOf(service).webhook));
  const named = new Set([...text.matchAll(/header:([\w-]+)/g)].map(([, name]) => name.toLowerCase()));
  const there = headers.map(([name]) => name);
  const times = there.filter((name) => /timestamp|transmission-time/i.test(name) && !/signature-timestamp-/i.test(name));
  const proofs = there.filter((name) => (named.has(name.toLowerCase()) || /signature|hmac|authorization|transmission-sig/i.test(name)) && !times.includes(name));
  return { proofs: proofs.filter((name) => !/version|topic|event|[-_]id$/i.test(name)), times: times.filter((name) => named.has(name.toLowerCase()) || /named/.test(text)) };
}

const WRONG_PROOFS = {
  'empty': () => '',
  'a blank': () => ' ',
  'shorter': (value) => value.slice(0, -2),
  'longer': (value) => `${value}00`,
  'not hexadecimal': (value) => `${value.slice(0, -4)}zzzz`,
  'base64url': (value) => `${value.slice(0, -6)}-_-_-_`,
  'base64 with padding too much': (value) => `${value}===`,
  'not ASCII': (value) => `${value.slice(0, -1)}\xfc`,
  'of an unknown version': (value) => (/[vs]\d?[\w]*[=,]/.test(value) ? value.replaceAll(/(v\d\w?|sha\d+)(?=[=,])/g, 'v99') : `v99=${value}`),
  'very long': () => 'a'.repeat(LONG),
  'very long after its beginning': (value) => value + 'a'.repeat(LONG),
  'a long list': (value) => `${value.slice(0, 3)},`.repeat(LONG / 5).slice(0, LONG),
  'a long list of nothing': () => ','.repeat(LONG),
  'many pairs': () => 't=1,v1=00,'.repeat(LONG / 10),
  'dots': () => '.'.repeat(LONG),
  'an empty token': () => '..',
  'a token without a body': () => 'eyJhbGciOiJub25lIn0..',
  'a token of another kind': () => 'Bearer eyJhbGciOiJub25lIn0.e30.',
  'a token of numbers': () => 'Bearer MQ.MQ.MQ',
  'a list in JSON': () => '[]',
};

const TIMES = {
  'empty': '', 'negative': '-1', 'overflowing': '99999999999999999999', 'at the end of 64 bits': '9223372036854775807',
  'in the future': String(Math.floor(Date.now() / 1000) + 10 ** 9), 'no number': 'yesterday', 'a fraction': '1700000000.5',
  'in hexadecimal': '0x6553f100', 'an exponent': '1e9', 'with a sign': '+1700000000', 'NaN': 'NaN', 'ISO without an end': '2026-01-31T', 'beyond all years': '99999-01-01T00:00:00Z',
  'very long': '1'.repeat(LONG),
};

const BODIES = {
  'empty': Buffer.alloc(0), 'not UTF-8': Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 'a number': Buffer.from('1e400'), 'null': Buffer.from('null'),
  'nested deep': Buffer.from('['.repeat(5000)), 'one byte': Buffer.from([0]), 'a broken form': Buffer.from('%zz&=&a=%ff&&payload=%7B'),
};

/**
 * A delivery without what it does not need: signatures of older schemes, second signatures, unsigned times. What is left
 * has to be right. One whose token or certificate has ended is left as it is.
 */
async function bare(service, delivery, isAccepted) {
  let least = delivery;
  const keepIf = async (changed) => { if (await isAccepted(changed)) least = changed; };
  if (!await isAccepted(delivery)) return delivery;
  const { proofs, times } = fieldsOf(service, delivery);
  for (const name of [...times, ...proofs]) await keepIf(without(least, [name]));
  for (const name of proofs) {
    const value = () => least.headers.find(isName(name))?.[1] ?? '';
    for (const entry of value().split(/[,; ]/)) await keepIf(withField(least, name, value().split(/(?<=[,; ])|(?=[,; ])/).filter((one) => one !== entry).join('').replace(/^[,; ]|[,; ]$/g, '').replace(/([,; ])\1/g, '$1')));
  }
  return least;
}

const withField = (delivery, name, value) => ({ ...delivery, headers: delivery.headers.map(([n, v]) => [n, isName(name)([n]) ? value : v]) });
const without = (delivery, names) => ({ ...delivery, headers: delivery.headers.filter(([name]) => !names.some((one) => isName(one)([name]))) });

/** Every way in which a delivery can be spoilt: `[what, request]`. */
function* spoilt(service, delivery) {
  const { headers } = delivery;
  const { proofs, times } = fieldsOf(service, delivery);
  if (proofs.length > 0) yield ['all proof missing', without(delivery, proofs)];
  for (const name of proofs) {
    const field = headers.find(isName(name));
    const [, value] = field;
    if (proofs.length === 1) yield [`${name} missing`, without(delivery, [name])];
    yield [`${name} doubled`, { ...delivery, headers: [...headers, field] }];
    yield [`${name} doubled, the first wrong`, { ...delivery, headers: [[name, `${value.slice(0, -4)}0000`], ...headers] }];
    for (const [what, change] of Object.entries(WRONG_PROOFS)) {
      if (change(value) !== value) yield [`${name} ${what}`, withField(delivery, name, change(value))];
    }
    const pair = /(^|[,;])(t|ts)=(\d+)/.exec(value);
    for (const [what, time] of Object.entries(pair ? TIMES : {})) {
      yield [`the time in ${name} ${what}`, withField(delivery, name, value.replace(pair[0], `${pair[1]}${pair[2]}=${time}`))];
    }
  }
  for (const name of times) {
    yield [`${name} missing`, without(delivery, [name])];
    yield [`${name} doubled`, { ...delivery, headers: [...headers, headers.find(isName(name))] }];
    for (const [what, time] of Object.entries(TIMES)) yield [`${name} ${what}`, withField(delivery, name, time)];
  }
  yield* spoiltInside(service, delivery);
  yield* spoiltQuery(service, delivery);
}

const VALUES = [undefined, null, '', 5, true, {}, [], 'zz', 'a'.repeat(LONG), 'é', '-1', '99999999999999999999'];

/** Those that carry their proof in the body. */
function* spoiltInside(service, delivery) {
  const text = JSON.stringify(schemesOf(manifestOf(service).webhook));
  const named = { sns: ['Signature', 'SignatureVersion', 'SigningCertURL', 'Type'], 'adyen-items': ['hmacSignature', 'additionalData', 'notificationItems'] };
  const [, verifier] = /"name":"([\w-]+)"/.exec(text) ?? [];
  const keys = [...text.matchAll(/body:[^"}|]*\/([\w-]+)/g)].map(([, key]) => key).concat(named[verifier] ?? []);
  const document = parsed(delivery.body);
  if (!document || fieldsOf(service, delivery).proofs.length > 0) return;
  for (const key of new Set(keys)) {
    for (const value of VALUES) {
      const body = JSON.stringify(document, (name, old) => (name === key ? value : old));
      if (body !== JSON.stringify(document)) yield [`${key} as ${String(JSON.stringify(value)).slice(0, 20)}`, { ...delivery, body }];
    }
  }
}

/** Those that carry it in the URL. */
function* spoiltQuery(service, delivery) {
  const text = JSON.stringify(schemesOf(manifestOf(service).webhook));
  for (const [, name] of text.matchAll(/query:([\w-]+)/g)) {
    const value = new URLSearchParams(delivery.query).get(name);
    if (value === null) continue;
    yield [`${name} doubled`, { ...delivery, query: `${delivery.query}&${delivery.query}` }];
    yield ['no query', { ...delivery, query: '' }];
    for (const [what, change] of Object.entries(WRONG_PROOFS)) {
      const query = new URLSearchParams([[name, change(value).slice(0, 8000)]]).toString();
      if (change(value) !== value) yield [`${name} ${what}`, { ...delivery, query }];
    }
    yield [`${name} not decodable`, { ...delivery, query: `${name}=%ff%zz` }];
  }
}

function parsed(body) {
  try { return JSON.parse(body); } catch { return undefined; }
}

/** Whether a changed body must be refused: not where only a word or a token came along. */
function coversBody(service, { fixture }) {
  const unbound = ({ kind, body_hash: hash }) => ['equals', 'basic'].includes(kind) || (kind === 'jwt' && !hash);
  return fixture.covers_body !== false && !schemesOf(manifestOf(service).webhook).some(unbound);
}

/** What a service expects to be told, besides 401. */
function refusals(service) {
  const { replies, handshakes = [] } = manifestOf(service).webhook;
  return new Set([401, replies?.refused?.status, ...handshakes.map(({ signed, reply }) => (signed === false ? reply?.status : undefined))].filter((status) => status >= 400));
}

/** Schemes whose key is the service's own and is fetched, so that the connection needs none. */
const isKeyless = ({ kind, name, keys }) => (kind === 'named' && ['sns', 'paypal'].includes(name)) || (kind === 'jwt' && keys !== undefined && keys !== 'secret');

/** Good ones whose token or certificate has an end that no window moves. */
const expired = (service) => schemesOf(manifestOf(service).webhook).some(({ kind, name }) => kind === 'jwt' || ['sns', 'paypal'].includes(name));

for (const service of services()) {
  test(`bad input of ${service} is refused, whatever it is`, { timeout: 60_000 }, async () => {
    const whole = deliveryOf(service);
    for (const [url, text] of Object.entries(whole.fixture.keys ?? {})) internet.documents.set(url, { answer: () => text });
    const { webhook_path: path } = await connect(whole.fixture, { webhook_tolerance_s: TOLERANCE });
    const post = ({ query, headers, body }) => send(`${hub.url}${path}${query && `?${query}`}`, { headers, body });
    const wrong = [];
    const check = (allowed) => async ([what, request]) => {
      const { status, bytes } = await post(request);
      if (!allowed(status)) wrong.push(`${what}: ${status} ${bytes.subarray(0, 300)}`);
    };

    const good = await post(whole);
    if (!expired(service)) assert.ok(good.status < 300, `${good.status} ${good.bytes}`);
    const delivery = await bare(service, whole, async (request) => (await post(request)).status < 300);
    const refused = refusals(service);
    const cases = [...spoilt(service, delivery)];
    assert.ok(cases.length >= 10, `${cases.length} cases`);
    await inParallel(8, cases, check((status) => refused.has(status)));
    const bodies = Object.entries(BODIES).map(([what, body]) => [`a body that is ${what}`, { ...delivery, body }]);
    await inParallel(8, bodies, check((status) => refused.has(status) || (!coversBody(service, delivery) && status < 300)));

    assert.deepEqual(wrong, []);
    assert.equal((await post(whole)).status, good.status, 'it goes on as before');
  });
}

test('a connection without its secret answers 503, and an empty secret is not taken', async () => {
  for (const service of services()) {
    const delivery = deliveryOf(service);
    const bare = { ...delivery.fixture, secrets: [], options: { ...delivery.fixture.options } };
    const empty = await hub.api('POST', '/api/v1/connections', connectionForFixture(bare, { webhook_secret: '' }));
    assert.deepEqual([empty.status, empty.body.code], [400, 'VALIDATION_ERROR'], service);

    const { webhook_path: path } = await connect(bare, { webhook_tolerance_s: TOLERANCE });
    const reply = await send(`${hub.url}${path}${delivery.query && `?${delivery.query}`}`, delivery);

    if (schemesOf(manifestOf(service).webhook).some(isKeyless)) assert.ok(![500, 503].includes(reply.status), `${service}: ${reply.status}`);
    else assert.deepEqual([reply.status, reply.headers['retry-after'] !== undefined], [503, true], `${service}: ${reply.bytes}`);
  }
});

test('a delivery without its proof is refused before its body has come', { timeout: 60_000 }, async () => {
  async function* unfinished() {
    yield '{"a":';
    await new Promise(() => {});
  }
  const open = ({ signed, method = 'POST' }) => signed === false && method === 'POST';
  // Where the proof, or what may be a handshake, is in the body, that has to come.
  const early = services().filter((service) => fieldsOf(service, deliveryOf(service)).proofs.length > 0
    && !manifestOf(service).webhook.handshakes?.some(open));
  assert.ok(early.length >= 50, `${early.length} services`);

  const late = new Set(early);
  const all = inParallel(8, early, async (service) => {
    const delivery = deliveryOf(service);
    const { webhook_path: path } = await connect(delivery.fixture);
    const { headers } = without(delivery, fieldsOf(service, delivery).proofs);
    const { status } = await send(`${hub.url}${path}${delivery.query && `?${delivery.query}`}`, { headers: [['transfer-encoding', 'chunked'], ...headers], body: unfinished() });
    assert.equal(status, 401, service);
    late.delete(service);
  });
  const enough = AbortSignal.timeout(10_000);
  await Promise.race([all, new Promise((resolve) => enough.addEventListener('abort', resolve))]);

  assert.deepEqual([...late], []);
});

const KEYS = {
  text: (secret) => secret,
  html_text: (secret) => secret.replaceAll('&amp;', '&').replaceAll('&#039;', "'").replaceAll('&quot;', '"'),
  hex: (secret) => Buffer.from(secret, 'hex'),
  base64: (secret) => Buffer.from(secret, 'base64'),
  whsec: (secret) => Buffer.from(secret.replace(/^(v1,)?(whsec_)?/, ''), 'base64'),
};
const ENCODINGS = { hex: 'hex', hex_any_case: 'hex', base64: 'base64', base64url: 'base64url' };
const NOW = { s: () => String(Math.floor(Date.now() / 1000)), ms: () => String(Date.now()), iso: () => new Date().toISOString() };

/** A body signed by a manifest's own words, where these are words that this little reader knows. */
function signed(service, { headers, fixture }, body) {
  const scheme = schemesOf(manifestOf(service).webhook)[0];
  if (!['hmac', 'digest'].includes(scheme.kind)) return undefined;
  const { hash, key = 'text', signature, timestamp, signed: template } = scheme;
  const [place, ...others] = [signature.from].flat();
  if (!place.startsWith('header:') || (timestamp && !/^(header|pair):/.test([timestamp.from].flat()[0]))) return undefined;
  const field = place.slice('header:'.length);
  const time = timestamp && NOW[timestamp.unit ?? 's']();
  const from = timestamp && [timestamp.from].flat()[0];
  const set = new Map(headers.filter(([name]) => ![field, ...others.map((one) => one.split(':')[1])].some((one) => isName(one)([name]))).map(([name, value]) => [name.toLowerCase(), value]));
  if (from?.startsWith('header:')) set.set(from.slice('header:'.length).toLowerCase(), time);
  const secret = fixture.secrets?.[0];
  const parts = [];
  for (const [literal, slot] of [...template.matchAll(/([^{}]*)(?:\{([^{}]+)\})?/g)].map(([, a, b]) => [a, b])) {
    const found = { body, timestamp: time, method: 'POST', url: fixture.webhook_url, secret }[slot] ?? (slot?.startsWith('header:') ? set.get(slot.slice(7).toLowerCase()) : undefined);
    if (slot && found === undefined) return undefined;
    parts.push(Buffer.from(literal), Buffer.from(found ?? ''));
  }
  const text = Buffer.concat(parts);
  const mac = scheme.kind === 'hmac' ? createHmac(hash, KEYS[key](secret)) : createHash(hash);
  const pair = from?.startsWith('pair:') ? `${from.slice('pair:'.length)}=${time}${signature.separator}` : '';
  return [...set, [field, `${pair}${signature.prefix ?? ''}${mac.update(text).digest(ENCODINGS[signature.encoding])}`]];
}

test('a body that is signed well is taken, empty or not UTF-8 though it may be', async () => {
  const done = [];
  for (const service of services()) {
    const delivery = deliveryOf(service);
    if (!signed(service, delivery, Buffer.from('x'))) continue;
    const { id, webhook_path: path } = await connect(delivery.fixture);
    for (const [what, body] of Object.entries({ 'not UTF-8': BODIES['not UTF-8'], empty: BODIES.empty })) {
      const headers = signed(service, delivery, body);
      const { status, bytes } = await send(`${hub.url}${path}${delivery.query && `?${delivery.query}`}`, { headers, body });
      assert.ok(status >= 200 && status < 300, `${service}, ${what}: ${status} ${bytes}`);
      const forged = Buffer.concat([body, Buffer.from('1')]);
      assert.equal((await send(`${hub.url}${path}${delivery.query && `?${delivery.query}`}`, { headers, body: forged })).status, 401, `${service}, ${what}, then changed`);
    }
    const { data } = await hub.ok('GET', `/api/v1/events?connection_id=${id}`);
    assert.ok(data.some(({ type }) => type === `${service}.unparsable`), service);
    done.push(service);
  }
  assert.ok(done.length >= 35, `${done.length} services: ${done}`);
});
