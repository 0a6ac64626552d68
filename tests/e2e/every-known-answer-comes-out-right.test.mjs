// Every known answer of tests/data/signature-vectors.json that can be sent is sent to a connection of its own, and the
// hub says what the engine says outside of workerd, which is what the source says unless only the clock is against it.
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { after, before, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';
import { inParallel } from '../support/parallel.mjs';
import { connectionFor, fakeInternet, keyDocuments, nativeVerdicts, obstacle, secretsOf, sendVector, vectors } from '../support/vectors.mjs';

/** As wide as a window goes: some requests were signed in 1970. */
const TOLERANCE = 4_000_000_000;

const NOT_SENT = {
  'no request': [
    'atlassian-connect/qsh-base-url-stripped', 'atlassian-connect/qsh-context-path', 'atlassian-connect/qsh-post-form-included',
    'atlassian-connect/qsh-repeated-params-sorted', 'atlassian-connect/qsh-root', 'stripe/hmac-primitive-empty',
    'stripe/hmac-primitive-utf8-emoji',
  ],
  'no delivery by this method': [
    'hubspot/v2-wrong-method', 'messagebird/payload-does-not-match-patch', 'messagebird/payload-was-added-in-transit-patch',
    'messagebird/payload-was-removed-in-transit-delete', 'messagebird/payload-was-removed-in-transit-put',
    'messagebird/special-characters-in-the-payload-delete', 'messagebird/special-characters-in-the-payload-put',
    'messagebird/valid-jwt-with-no-url-parameters-or-payload-delete', 'messagebird/valid-jwt-with-no-url-parameters-or-payload-put',
    'messagebird/valid-jwt-with-url-parameters-and-payload-patch',
  ],
  'no secret to configure': ['box/null-keys'],
};

/** Refused by their own clock for their age alone: a window this wide lets them in. */
const OLD = [
  'calendly/181s-old', 'elevenlabs/suite-expired-31min', 'gitlab/signing-token-stale', 'hubspot/py-v3-expired', 'linear/61s-old',
  'mailgun/stale-with-tolerance', 'paddle/node-at-6s', 'plaid/iat-301s-old', 'slack/expired-301s',
  'standard-webhooks/new-timestamp-301s', 'supabase/stale', 'workos/181s-old', 'zoom/old-301s',
];

/** Good by their own clock: a token and a certificate say themselves when they end, and no window changes that. */
const EXPIRED = {
  tokens: [
    'atlassian-forge/invocation-token', 'google-pubsub/oidc-push', 'messagebird/hs384-alg-get', 'messagebird/special-characters-in-url-get',
    'messagebird/valid-jwt-with-no-url-parameters-or-payload-get', 'messagebird/valid-jwt-with-url-parameters-and-payload-post',
    'monday/authorization-jwt', 'vonage/payload-hash',
  ],
  certificates: ['aws-sns/ruby-sdk-v2-sha256'],
};

/** Batches of nothing, signed well: accepted, and no event. */
const EMPTY = ['auth0/second-positive-basic', 'line/verify-button-empty-events', 'xero/valid'];

const internet = fakeInternet();
const hubs = [];
let native;

before(async () => { native = await nativeVerdicts(TOLERANCE); });
after(async () => {
  internet.restore();
  await Promise.all(hubs.map(({ hub }) => hub.close()));
});

/** A hub that has seen no other document at these addresses: it remembers them for an hour. */
async function hubFor(documents) {
  const fits = ({ seen }) => [...documents].every(([url, { text }]) => !seen.has(url) || seen.get(url) === text);
  let found = hubs.find(fits);
  if (!found) hubs.push(found = { hub: await startHub(), seen: new Map() });
  for (const [url, { text }] of documents) found.seen.set(url, text);
  return found.hub;
}

/** Sends an entry to a connection of its own; gives the reply, and where to look for events. */
async function ask(entry, config = { webhook_tolerance_s: TOLERANCE }) {
  const documents = keyDocuments(entry);
  const hub = await hubFor(documents);
  for (const [url, document] of documents) internet.documents.set(url, document);
  const connection = await hub.ok('POST', '/api/v1/connections', connectionFor(entry, config));
  return { hub, connection, reply: await sendVector(hub.url, connection.webhook_path, entry) };
}

/** Asks about many, those with documents one after the other: at one address stands one document at a time. */
async function askAll(entries, config) {
  const answers = new Map();
  const one = (entry) => ask(entry, config?.(entry)).catch(unasked).then((answer) => answers.set(entry.id, answer));
  await hubFor(new Map());
  await inParallel(8, entries.filter((entry) => keyDocuments(entry).size === 0), one);
  await inParallel(1, entries.filter((entry) => keyDocuments(entry).size > 0), one);
  return answers;
}

/** What stands for an answer where the hub did not let a question be asked. */
const unasked = ({ message }) => ({ connection: {}, reply: { status: 0, bytes: message } });

/** The connections that got an event. */
async function connectionsWithEvents() {
  const found = new Set();
  for (const { hub } of hubs) {
    let cursor = '';
    do {
      const page = await hub.ok('GET', `/api/v1/events?limit=200&cursor=${encodeURIComponent(cursor)}`);
      for (const { connectionid: id } of page.data) found.add(id);
      cursor = page.next_cursor;
    } while (cursor);
  }
  return found;
}

const entriesOf = (ids) => ids.map((id) => vectors.find((entry) => entry.id === id));

let answers;

test('each known answer gets in workerd the verdict that it gets outside of it', async () => {
  answers = await askAll(vectors.filter((entry) => !obstacle(entry)));

  const stored = await connectionsWithEvents();
  const differences = [...answers].flatMap(([id, { connection, reply }]) => {
    const has = stored.has(connection.id);
    const verdict = verdictOf(reply.status, { has: has || EMPTY.includes(id), handshake: native[id].startsWith('answered') });
    return verdict === native[id] && !(has && EMPTY.includes(id)) ? [] : [`${id}: ${verdict}, natively ${native[id]}: ${reply.bytes}`];
  });
  assert.deepEqual(differences, []);
});

function verdictOf(status, { has, handshake }) {
  if (has) return status < 300 ? 'accepted' : `answered:${status}, and stored`;
  return status < 300 || handshake ? `answered:${status}` : `refused:${status}`;
}

test('the verdict is that of the source, unless only the clock is against it', () => {
  const agrees = ({ id, valid }) => (valid ? native[id] === 'accepted' : native[id].startsWith('refused'));
  const others = vectors.filter((entry) => entry.kind === 'request' && !obstacle(entry) && !agrees(entry));

  const ids = (valid) => others.filter((entry) => entry.valid === valid).map(({ id }) => id).sort();
  assert.deepEqual(ids(false), OLD);
  assert.deepEqual(ids(true), [...EXPIRED.tokens, ...EXPIRED.certificates].sort());
});

test('what cannot be sent is known, and nothing else is left out', () => {
  const left = vectors.filter(obstacle);

  for (const [why, ids] of Object.entries(NOT_SENT)) {
    assert.deepEqual(left.filter((entry) => obstacle(entry) === why).map(({ id }) => id).sort(), ids, why);
  }
  assert.equal(left.length, Object.values(NOT_SENT).flat().length);
  assert.equal(answers.size + left.length, vectors.length);
});

test('a handshake gets the reply that the source gives', () => {
  const handshakes = vectors.filter(({ kind }) => kind === 'handshake');
  assert.equal(handshakes.length, 10);

  for (const { id, expect, method } of handshakes) {
    const { reply } = answers.get(id);
    assert.equal(reply.status, expect.status, id);
    if (expect.body !== undefined && method !== 'HEAD') assertSameText(String(reply.bytes), expect.body, id);
    if (expect.content_type) assert.ok(reply.headers['content-type'].startsWith(expect.content_type), id);
    for (const [name, value] of Object.entries(expect.headers ?? {})) assert.equal(reply.headers[name.toLowerCase()], value, id);
    if (expect.action) assert.equal(internet.requests.filter(({ method: how, url }) => how === 'GET' && url === expect.action.GET).length, 1, id);
  }
});

function assertSameText(actual, expected, id) {
  if (actual === expected) return;
  assert.deepEqual(JSON.parse(actual), JSON.parse(expected), id);
}

test('what a wide window lets in is refused where the window is the usual one', async () => {
  const own = ({ options }) => (options?.tolerance_s === undefined ? {} : { webhook_tolerance_s: options.tolerance_s });

  const replies = await askAll(entriesOf(OLD), own);

  assert.deepEqual([...replies].map(([id, { reply }]) => [id, reply.status]).filter(([, status]) => status !== 401), []);
});

test('a token signed afresh, as old as it was, gets the verdict of the source without any tolerance', async () => {
  const fresh = vectors.filter((entry) => entry.kind === 'request' && !obstacle(entry)).map(signedAfresh).filter(Boolean);
  assert.deepEqual(EXPIRED.tokens.filter((id) => !fresh.some((entry) => entry.id === id)), []);
  assert.ok(fresh.some(({ valid }) => !valid));

  // Its age is that of the source only while this second lasts, more or less.
  const replies = await askAll(fresh, () => ({}));

  const stored = await connectionsWithEvents();
  const wrong = fresh.filter(({ id, valid }) => stored.has(replies.get(id).connection.id) !== valid || (replies.get(id).reply.status < 300) !== valid);
  assert.deepEqual(wrong.map(({ id, valid }) => `${id}: ${replies.get(id).reply.status}, should be ${valid ? 'accepted' : 'refused'}`), []);
});

const TOKEN = /[\w-]+\.[\w-]+\.[\w-]+/;
const pairs = { RS: generateKeyPairSync('rsa', { modulusLength: 2048 }), ES: generateKeyPairSync('ec', { namedCurve: 'P-256' }) };

/** A copy of an entry whose token's times are as near to now as they were to its own clock, if its signature is good. */
function signedAfresh(entry) {
  const [name, value] = entry.headers.find(([, text]) => TOKEN.test(text) && isObject(decoded(TOKEN.exec(text)[0].split('.')[0]))) ?? [];
  if (!name) return undefined;
  const [head, claims, signature] = TOKEN.exec(value)[0].split('.');
  const header = decoded(head);
  if (!isGood(entry, header, `${head}.${claims}`, signature)) return undefined;
  const shift = Math.floor(Date.now() / 1000) - Math.floor(entry.now_unix);
  const moved = { ...decoded(claims) };
  for (const time of ['iat', 'nbf', 'exp']) if (typeof moved[time] === 'number') moved[time] += shift;
  const signed = `${head}.${Buffer.from(JSON.stringify(moved)).toString('base64url')}`;
  const token = `${signed}.${signatureOf(entry, header, signed)}`;
  const pair = pairs[header.alg.slice(0, 2)];
  const key = pair && { ...pair.publicKey.export({ format: 'jwk' }), kid: header.kid, use: 'sig', alg: header.alg };
  return {
    ...entry,
    headers: entry.headers.map(([n, v]) => [n, n === name ? v.replace(TOKEN, token) : v]),
    ...(key && { jwks: entry.jwks.map((old) => ({ ...old, ...key })) }),
  };
}

const isObject = (value) => typeof value === 'object' && value !== null;

function decoded(text) {
  try { return JSON.parse(Buffer.from(text, 'base64url')); } catch { return undefined; }
}

const hashOf = ({ alg }) => `sha${alg.slice(2)}`;
const mac = (entry, header, text) => createHmac(hashOf(header), secretsOf(entry)[0]).update(text).digest('base64url');

function isGood(entry, header, text, signature) {
  if (/^HS/.test(header.alg)) return secretsOf(entry).length > 0 && mac(entry, header, text) === signature;
  const key = entry.jwks?.find(({ kid }) => kid === header.kid);
  if (!key || !/^(RS|ES)/.test(header.alg)) return false;
  const options = { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
  return verify(hashOf(header), Buffer.from(text), options, Buffer.from(signature, 'base64url'));
}

function signatureOf(entry, header, text) {
  if (/^HS/.test(header.alg)) return mac(entry, header, text);
  return sign(hashOf(header), Buffer.from(text), { key: pairs[header.alg.slice(0, 2)].privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}

test('keys are asked for at the services alone, and seldom', () => {
  const hosts = new Set(internet.requests.map(({ url }) => new URL(url).hostname));

  for (const host of hosts) assert.match(host, /(^|\.)(amazonaws\.com|atlassian-dev\.net|googleapis\.com|paypal\.com|plaid\.com)$/);
  const certificates = internet.requests.filter(({ url }) => url.endsWith('.pem')).map(({ url }) => url);
  assert.equal(certificates.length, new Set(certificates).size, 'a certificate that was fetched is remembered');
});

test('an app has an address of its own, with a slash at its end and without, and the reply that goes with each', async () => {
  const secret = 'whsec_of the app';
  const hub = await startHub({ STRIPE_WEBHOOK_SECRET: secret, SLACK_WEBHOOK_SECRET: secret });
  hubs.push({ hub, seen: new Map() });
  let sent = 0;
  const stripe = (path, key = secret) => {
    const [body, time] = [JSON.stringify({ id: `evt_${sent += 1}`, type: 'charge.succeeded' }), Math.floor(Date.now() / 1000)];
    const signature = createHmac('sha256', key).update(`${time}.${body}`).digest('hex');
    return send(`${hub.url}${path}`, { headers: [['content-type', 'application/json'], ['stripe-signature', `t=${time},v1=${signature}`]], body });
  };

  const own = await stripe('/webhooks/stripe');
  assert.deepEqual([own.status, own.body], [200, { received: true }]);
  const forged = await stripe('/webhooks/stripe', 'another');
  assert.equal(forged.status, 400);
  assert.match(forged.headers['content-type'], /^text\/plain/);
  assert.match(String(forged.bytes), /^Webhook Error: ./);
  const unsigned = await send(`${hub.url}/webhooks/stripe`, { body: '{}' });
  assert.deepEqual([unsigned.status, String(unsigned.bytes).startsWith('Webhook Error: ')], [400, true]);

  for (const path of ['/webhooks/stripe/', '/api/integration/stripe/events']) {
    const reply = await stripe(path);
    assert.equal(reply.status, 202, path);
    assert.match(reply.body.id, /^evt_/);
    assert.match(reply.body.trace_id, /^[0-9a-f]{32}$/);
    assert.deepEqual([(await stripe(path, 'another')).status, (await stripe(path, 'another')).body.code], [401, 'SIGNATURE_INVALID'], path);
  }
  for (const path of ['/webhooks/slack', '/webhooks/slack/']) assert.equal((await send(`${hub.url}${path}`, { body: '{}' })).status, 401, path);
  for (const path of ['/webhooks/nosuch', '/webhooks/nosuch/', '/webhooks/']) {
    assert.equal((await send(`${hub.url}${path}`, { body: '{}' })).status, 404, path);
  }
  const { status, body } = await send(`${hub.url}/webhooks/shopify`, { body: '{}' });
  assert.deepEqual([status, body.detail.includes('SHOPIFY_WEBHOOK_SECRET')], [503, true]);
  assert.equal((await hub.ok('GET', '/api/v1/events?service=stripe')).data.length, 3);
});
