// What a service asks before it sends: answered as the service wants it, and never so that it helps a forger.
import assert from 'node:assert/strict';
import { X509Certificate, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';
import { until } from '../support/until.mjs';
import { connectionForFixture, fakeInternet, fixtures, manifestOf, sendFixture, services, vectors } from '../support/vectors.mjs';

const TOLERANCE = 4_000_000_000;
const SLACK_SECRET = randomBytes(16).toString('hex');

const internet = fakeInternet();
const hub = await startHub({ SLACK_WEBHOOK_SECRET: SLACK_SECRET });
after(async () => {
  internet.restore();
  await hub.close();
});

/** The address of a new connection, and a way to send to it. */
async function connect(integration, config) {
  const { id, webhook_path: path } = await hub.ok('POST', '/api/v1/connections', { integration, config });
  const url = `${hub.url}${path}`;
  return {
    id,
    url,
    get: (parameters, options) => send(`${url}?${new URLSearchParams(parameters)}`, { method: 'GET', ...options }),
    post: (body, headers = []) => send(url, { headers: [['content-type', 'application/json'], ...headers], body: typeof body === 'string' ? body : JSON.stringify(body) }),
    events: async () => (await hub.ok('GET', `/api/v1/events?connection_id=${id}`)).data,
  };
}

const hmac = (key, text, { hash = 'sha256', as = 'hex' } = {}) => createHmac(hash, key).update(text).digest(as);
const now = () => String(Math.floor(Date.now() / 1000));

test('every handshake among the fixtures gets the reply that is written there, and makes no event', async () => {
  const isHandshake = ({ expect, request, keys }) => expect.reply && !expect.events && !expect.refused && !keys && request.method !== 'HEAD';
  const all = fixtures().filter(isHandshake);
  const shaking = services().filter((service) => manifestOf(service).webhook.handshakes?.some(({ method, confirm }) => method !== 'HEAD' && !confirm));
  assert.deepEqual(shaking.filter((service) => !all.some((fixture) => fixture.service === service)), []);

  for (const fixture of all) {
    const { id, webhook_path: path } = await hub.ok('POST', '/api/v1/connections', connectionForFixture(fixture, { webhook_tolerance_s: TOLERANCE }));
    const reply = await sendFixture(hub.url, path, fixture);
    const { status, body, content_type: type, headers = {} } = fixture.expect.reply;
    assert.equal(reply.status, status, `${fixture.name}: ${reply.bytes}`);
    if (body !== undefined) assert.deepEqual(parsed(reply.bytes), parsed(body), fixture.name);
    if (type) assert.ok(reply.headers['content-type'].startsWith(type), `${fixture.name}: ${reply.headers['content-type']}`);
    for (const [name, value] of Object.entries(headers)) assert.equal(reply.headers[name.toLowerCase()], value, fixture.name);
    assert.deepEqual((await hub.ok('GET', `/api/v1/events?connection_id=${id}`)).data, [], fixture.name);
  }
});

/** JSON where it is, so that the order of members is no matter. */
function parsed(text) {
  try { return JSON.parse(text); } catch { return String(text); }
}

test('an app shakes hands on its own address too, once the request is verified', async () => {
  const challenge = '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P';
  const body = JSON.stringify({ token: 't', challenge, type: 'url_verification' });
  const ask = (path, time, key) => send(`${hub.url}${path}`, {
    headers: [['content-type', 'application/json'], ['x-slack-request-timestamp', time], ['x-slack-signature', `v0=${hmac(key, `v0:${time}:${body}`)}`]],
    body,
  });

  for (const path of ['/api/integration/slack/events', '/webhooks/slack', '/webhooks/slack/']) {
    const reply = await ask(path, now(), SLACK_SECRET);
    assert.deepEqual([reply.status, String(reply.bytes)], [200, challenge], path);
    for (const forged of [await ask(path, now(), 'a guess'), await ask(path, '1700000000', SLACK_SECRET), await send(`${hub.url}${path}`, { body })]) {
      assert.equal(forged.status, 401, path);
      assert.ok(!String(forged.bytes).includes(challenge), path);
    }
  }
});

test('what is neither a handshake nor a delivery gets 405 with the methods that are right', async () => {
  const slack = await connect('slack', { webhook_secret: 's' });
  const dropbox = await connect('dropbox', { webhook_secret: 's' });
  const trello = await connect('trello', { webhook_secret: 's' });

  for (const url of [slack.url, trello.url, `${hub.url}/api/integration/slack/events`, `${hub.url}/webhooks/slack`]) {
    const { status, headers } = await send(url, { method: 'GET' });
    assert.deepEqual([status, headers.allow.includes('POST')], [405, true], url);
  }
  const options = await send(slack.url, { method: 'OPTIONS' });
  assert.deepEqual([options.status, options.headers.allow.includes('POST'), options.bytes.length], [204, true, 0]);
  assert.equal((await send(trello.url, { method: 'HEAD' })).status, 200);
  assert.equal((await send(slack.url, { method: 'HEAD' })).status, 405);
  assert.ok([401, 405].includes((await send(dropbox.url, { method: 'GET' })).status));
});

const BAD_CHALLENGES = {
  'markup': '<script>alert(1)</script>',
  'a body to be signed': '{"for_user_id":"1"}',
  'a URL': 'https://example.com/',
  'with a dot': 'a.b',
  'with a blank': 'a b',
  'with a line break': 'a\nSet-Cookie: b=1',
  'with a colon': 'v0:1700000000',
  'not ASCII': 'é',
  'too long': 'a'.repeat(129),
  'empty': '',
};

/** How each service that has its challenge echoed or signed without a signature of its own asks. */
const unsigned = {
  'x-twitter': ({ get }, challenge) => get({ crc_token: challenge, nonce: 'n' }),
  dropbox: ({ get }, challenge) => get({ challenge }),
  'meta-whatsapp': ({ get }, challenge) => get({ 'hub.mode': 'subscribe', 'hub.verify_token': 'vt', 'hub.challenge': challenge }),
  monday: ({ post }, challenge) => post({ challenge }),
  'azure-event-grid': ({ post }, challenge) => post([{ eventType: 'Microsoft.EventGrid.SubscriptionValidationEvent', data: { validationCode: challenge } }], [['aeg-event-type', 'SubscriptionValidation']]),
  okta: ({ get }, challenge) => get({}, { headers: [['x-okta-verification-challenge', Buffer.from(challenge).toString('latin1')]] }),
  asana: ({ post }, challenge) => post('', [['x-hook-secret', Buffer.from(challenge).toString('latin1')]]),
};
for (const [service, ask] of Object.entries(unsigned)) {
  test(`a challenge of ${service} is answered if it is a plain token, and nothing else is`, async () => {
    const secret = 'the-secret-of-this-connection';
    const connection = await connect(service, { webhook_secret: secret, ...(service === 'meta-whatsapp' && { verify_token: 'vt' }) });

    const fine = 'Aa0_-'.repeat(25);
    const reply = await ask(connection, fine);
    assert.equal(reply.status, 200, String(reply.bytes));
    const all = String(reply.bytes) + JSON.stringify(reply.headers);
    assert.ok(all.includes(service === 'x-twitter' ? `sha256=${hmac(secret, fine, { as: 'base64' })}` : fine), all);
    assert.equal(reply.headers['x-content-type-options'], 'nosniff');
    assert.doesNotMatch(reply.headers['content-type'] ?? '', /html/);

    for (const [name, challenge] of Object.entries(BAD_CHALLENGES)) {
      // A field's value has no line break, and none at all may be no challenge.
      if (['okta', 'asana'].includes(service) && challenge.includes('\n')) continue;
      const { status, bytes, headers } = await ask(connection, challenge);
      assert.ok([400, 401, 403, 405].includes(status), `${name}: ${status} ${bytes}`);
      const said = String(bytes) + JSON.stringify(headers);
      if (challenge !== '') assert.ok(!said.includes(challenge), name);
      for (const as of ['hex', 'base64', 'base64url']) assert.ok(!said.includes(hmac(secret, challenge, { as })), name);
    }
    assert.deepEqual(await connection.events(), []);
  });
}

test('what X has got signed as a challenge is no delivery', async () => {
  const { get, post, events } = await connect('x-twitter', { webhook_secret: 'the-secret-of-this-connection' });

  for (const text of ['123', 'true', 'null', 'abc_-']) {
    const { body } = await get({ crc_token: text, nonce: 'n' });
    const { status } = await post(text, [['x-twitter-webhooks-signature', body.response_token ?? 'sha256=']]);
    assert.equal(status, 401, text);
  }
  assert.deepEqual(await events(), []);
});

test('a challenge of Microsoft Graph may be a sentence, comes back as plain text, and holds nothing but printable ASCII', async () => {
  const { url, events } = await connect('microsoft-graph', { webhook_secret: 's' });
  const ask = (text) => send(`${url}?validationToken=${encodeURIComponent(text)}`, { headers: [['content-type', 'text/plain']], body: '' });

  for (const text of ['Validation: Testing client application reachability for subscription Request-Id: 1', '<b>+&%20', 'a'.repeat(1024)]) {
    const reply = await ask(text);
    assert.deepEqual([reply.status, String(reply.bytes)], [200, text]);
    assert.match(reply.headers['content-type'], /^text\/plain/);
    assert.equal(reply.headers['x-content-type-options'], 'nosniff');
  }
  for (const text of ['a\r\nb', 'é', 'a'.repeat(1025), '']) assert.equal((await ask(text)).status, 401, text);
  assert.deepEqual(await events(), []);
});

test('Meta gets its challenge back for the verify token alone', async () => {
  const { get, events } = await connect('meta-whatsapp', { webhook_secret: 's', verify_token: 'right' });
  const ask = (parameters) => get({ 'hub.mode': 'subscribe', 'hub.verify_token': 'right', 'hub.challenge': '1158201444', ...parameters });

  const reply = await ask();
  assert.deepEqual([reply.status, String(reply.bytes)], [200, '1158201444']);
  for (const wrong of [{ 'hub.verify_token': 'wrong' }, { 'hub.verify_token': '' }, { 'hub.verify_token': 'righ' }, { 'hub.mode': 'unsubscribe' }]) {
    const { status, bytes } = await ask(wrong);
    assert.deepEqual([status, bytes.includes('1158201444')], [403, false], JSON.stringify(wrong));
  }
  assert.deepEqual(await events(), []);
});

test('Zoom gets a text signed only in a request that is signed itself, and only if it is a token', async () => {
  const secret = 'zoom-secret-token';
  const { post, events } = await connect('zoom', { webhook_secret: secret });
  const ask = (plainToken, key = secret, time = now()) => {
    const body = JSON.stringify({ event: 'endpoint.url_validation', payload: { plainToken }, event_ts: Date.now() });
    return post(body, [['x-zm-request-timestamp', time], ['x-zm-signature', `v0=${hmac(key, `v0:${time}:${body}`)}`]]);
  };

  const token = 'qgg8vlvZRS6UYooatFL8Aw';
  assert.deepEqual((await ask(token)).body, { plainToken: token, encryptedToken: hmac(secret, token) });
  for (const forged of [await ask(token, 'a guess'), await ask(token, secret, '1700000000'), await post({ event: 'endpoint.url_validation', payload: { plainToken: token } })]) {
    assert.equal(forged.status, 401);
    assert.ok(!forged.bytes.includes(hmac(secret, token)));
  }
  assert.deepEqual(await events(), []);
  const time = now();
  for (const text of [`v0:${time}:{"event":"meeting.ended"}`, ...Object.values(BAD_CHALLENGES)]) {
    const { bytes } = await ask(text);
    assert.ok(!bytes.includes(hmac(secret, text)) && !bytes.includes('encryptedToken'), text);
  }
});

test('Discord gets its PONG for a signed PING, and 401 for a forged one', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const key = Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url').toString('hex');
  const { post, events } = await connect('discord', { webhook_secret: key });
  const ask = (body, signed = body) => {
    const time = now();
    const signature = sign(null, Buffer.from(time + signed), privateKey).toString('hex');
    return post(body, [['x-signature-ed25519', signature], ['x-signature-timestamp', time]]);
  };

  const pong = await ask('{"type":1,"application_id":"1"}');
  assert.deepEqual([pong.status, pong.body], [200, { type: 1 }]);
  assert.deepEqual([(await ask('{"type":0,"version":1}')).status, (await ask('{"type":1}', '{"type":2}')).status], [204, 401]);
  assert.deepEqual(await events(), []);
});

test('Event Grid asks an origin by OPTIONS, and is answered for that origin', async () => {
  const { url } = await connect('azure-event-grid', { webhook_secret: 's' });

  const reply = await send(url, { method: 'OPTIONS', headers: [['webhook-request-origin', 'eventgrid.azure.net'], ['webhook-request-rate', '120']] });

  assert.equal(reply.status, 200);
  assert.equal(reply.headers['webhook-allowed-origin'], 'eventgrid.azure.net');
});

/** Services that hand their secret over: how they do, and how they sign with it. */
const teachers = {
  asana: {
    hand: ({ post }, secret) => post('', [['x-hook-secret', secret]]),
    deliver: ({ post }, secret, body) => post(body, [['x-hook-signature', hmac(secret, body)]]),
    payload: (gid) => JSON.stringify({ events: [{ action: 'changed', resource: { gid, resource_type: 'task' } }] }),
    type: 'asana.task.changed',
  },
  notion: {
    hand: ({ post }, secret) => post({ verification_token: secret }),
    deliver: ({ post }, secret, body) => post(body, [['x-notion-signature', `sha256=${hmac(secret, body)}`]]),
    payload: (id) => JSON.stringify({ id, type: 'page.created', entity: { id: 'p' } }),
    type: 'notion.page.created',
  },
};
for (const [service, { hand, deliver, payload, type }] of Object.entries(teachers)) {
  const secret = () => `secret_${randomBytes(16).toString('hex')}`;

  test(`a new connection to ${service} takes the first secret that it is handed, and keeps it`, async () => {
    const [first, second] = [secret(), secret()];
    const connection = await connect(service, {});
    assert.equal((await deliver(connection, first, payload('1'))).status, 503, 'there is no secret yet');

    const handed = await hand(connection, first);
    assert.equal(handed.status, 200);
    assert.equal((await deliver(connection, first, payload('2'))).status, 200);
    assert.equal((await deliver(connection, second, payload('3'))).status, 401);

    assert.equal((await hand(connection, second)).status, 200);
    assert.equal((await deliver(connection, second, payload('4'))).status, 401, 'a later one is not believed');
    assert.equal((await deliver(connection, first, payload('5'))).status, 200);
    assert.deepEqual((await connection.events()).map((event) => event.type), [type, type]);
    assert.ok(!hub.logs().some((line) => line.includes(first)));
  });

  test(`the secret that ${service} handed over can be read for a while, since the service may ask for it, and no other can`, async () => {
    const [handed, own] = [secret(), secret()];
    const connection = await connect(service, {});
    const path = `/api/v1/connections/${connection.id}`;
    await hand(connection, handed);

    assert.equal((await hub.ok('GET', path)).learned_webhook_secret, handed);
    assert.ok(!(await hub.api('GET', '/api/v1/connections?limit=200')).bytes.includes(handed));
    assert.ok(!(await hub.api('PATCH', path, { config: { webhook_secret: own } })).bytes.includes(own));
    assert.ok(!(await hub.api('GET', path)).bytes.includes(own), 'this one was never handed over');
  });

  test(`a connection to ${service} that has a secret keeps it, whatever it is handed`, async () => {
    const [own, other] = [secret(), secret()];
    const connection = await connect(service, { webhook_secret: own });

    assert.equal((await hand(connection, other)).status, 200);

    assert.equal((await deliver(connection, other, payload('1'))).status, 401);
    assert.equal((await deliver(connection, own, payload('2'))).status, 200);
  });

  test(`of two secrets handed over to ${service}'s connection at once, one is kept`, async () => {
    const both = [secret(), secret()];
    const connection = await connect(service, {});

    await Promise.all(both.map((one) => hand(connection, one)));

    const tries = await Promise.all(both.map((one, index) => deliver(connection, one, payload(`at once ${index}`))));
    assert.deepEqual(tries.map(({ status }) => status).sort(), [200, 401]);
  });

  test(`what is too short to be a secret of ${service} is not taken for one`, async () => {
    const connection = await connect(service, {});

    await hand(connection, 'short');

    assert.equal((await deliver(connection, 'short', payload('1'))).status, 503);
  });
}

test('a subscription to a topic is confirmed once, at the service alone, and for a signed message alone', async () => {
  const known = vectors.find(({ id }) => id === 'aws-sns/subscription-confirmation');
  const [[address, pem]] = Object.entries(known.certs);
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  internet.documents.set(address, { answer: () => withKey(pem, pair.publicKey) });
  const { post, events } = await connect('aws-sns', { topic_arns: ['arn:aws:sns:us-east-1:123456789012:MyTopic'] });
  const url = (token) => `https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=${token}`;
  const fetched = () => internet.requests.filter((request) => !request.url.endsWith('.pem')).map((request) => `${request.method} ${request.url}`);
  const ask = (SubscribeURL, changed = {}) => {
    const message = {
      Type: 'SubscriptionConfirmation', MessageId: '1', Token: 't', TopicArn: 'arn:aws:sns:us-east-1:123456789012:MyTopic',
      Message: 'You have chosen to subscribe', SubscribeURL, Timestamp: new Date().toISOString(), SignatureVersion: '2', SigningCertURL: address,
    };
    const signed = ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type'].map((name) => `${name}\n${message[name]}\n`).join('');
    const Signature = sign('RSA-SHA256', Buffer.from(signed), pair.privateKey).toString('base64');
    return post({ ...message, Signature, ...changed }, [['x-amz-sns-message-type', 'SubscriptionConfirmation']]);
  };

  for (const changed of [{ SubscribeURL: url('another') }, { Token: 'another' }, { TopicArn: 'arn:aws:sns:us-east-1:1:theirs' }, { Signature: 'AAAA' }]) {
    assert.equal((await ask(url('1'), changed)).status, 401, JSON.stringify(changed));
  }
  for (const foreign of ['https://evil.example/?sns.us-east-1.amazonaws.com', 'http://sns.us-east-1.amazonaws.com/', 'https://sns.us-east-1.amazonaws.com@evil.example/', 'https://127.0.0.1/']) {
    assert.equal((await ask(foreign)).status, 200, foreign);
  }
  assert.deepEqual(fetched(), []);

  assert.equal((await ask(url('right'))).status, 200);
  await until('the confirmation', () => fetched().length > 0);
  assert.deepEqual(fetched(), [`GET ${url('right')}`]);
  assert.deepEqual(await events(), []);
});

/** The certificate with another key in it: nobody looks at its own signature, which is of no issuer. */
function withKey(pem, key) {
  const certificate = new X509Certificate(pem);
  const [old, its] = [certificate.publicKey, key].map((one) => one.export({ type: 'spki', format: 'der' }));
  const at = certificate.raw.indexOf(old);
  assert.ok(at > 0 && old.length === its.length);
  const der = Buffer.concat([certificate.raw.subarray(0, at), its, certificate.raw.subarray(at + old.length)]);
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
}
