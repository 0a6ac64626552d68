// A program that subscribes gets the events it asked for, signed so that any Standard Webhooks library
// can check them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { startFakeAgent } from '../support/fake-agent.mjs';
import { startHub } from '../support/hub.mjs';
import { openScene } from '../support/scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

/** A subscriber of the scene's owner. */
async function subscribe(t, scene, fields = {}) {
  const subscriber = await startFakeAgent();
  t.after(() => subscriber.close());
  const destination = await hub.ok('POST', '/api/v1/destinations', {
    name: 'back office', url: subscriber.url, event_types: ['github.*'], role: 'subscriber', owner: scene.owner, ...fields,
  });
  subscriber.secret = destination.secret;
  return Object.assign(subscriber, { destination });
}

const received = (subscriber, event) => subscriber.deliveries.filter(({ message }) => message.id === event);
const arrival = (subscriber, event) => until(`the subscriber to get ${event}`, () => received(subscriber, event)[0]);

test('a subscriber gets the event as a signed CloudEvent', async (t) => {
  const scene = await openScene(t, hub);
  const subscriber = await subscribe(t, scene);
  const id = crypto.randomUUID();

  const sent = await scene.comment('Thank you!', { issue: 2 }, { id });
  const { headers, message } = await arrival(subscriber, sent.id);

  assert.deepEqual(subscriber.rejected, []);
  assert.match(headers['content-type'], /^application\/(cloudevents\+)?json/);
  assert.ok(headers['webhook-id']);
  assert.match(headers['webhook-signature'], /^v1,/);
  assert.partialDeepStrictEqual(message, {
    specversion: '1.0',
    id: sent.id,
    type: 'github.issue_comment.created',
    datacontenttype: 'application/json',
    connectionid: scene.connection.id,
    deliveryid: id,
    traceid: sent.trace_id,
  });
  assert.equal(typeof message.source, 'string');
  assert.ok(!Number.isNaN(Date.parse(message.time)));
  assert.equal(message.data.comment.body, 'Thank you!');
  assert.equal(message.data.issue.number, 2);
});

test('a secret is shown once, when the destination is made', async (t) => {
  const scene = await openScene(t, hub);
  const { destination } = await subscribe(t, scene);
  const path = `/api/v1/destinations/${destination.id}`;

  assert.match(destination.secret, /^whsec_[A-Za-z0-9+/]{32,}={0,2}$/);
  const later = [await hub.api('GET', path), await hub.api('GET', '/api/v1/destinations?limit=200'), await hub.api('PATCH', path, { name: 'new' })];
  for (const { status, bytes } of later) {
    assert.equal(status, 200);
    assert.ok(!bytes.includes(destination.secret));
  }
});

test('event types choose what a subscriber gets', async (t) => {
  const scene = await openScene(t, hub);
  const cases = [
    [['github.*'], ['comment', 'issue', 'label']],
    [['*'], ['comment', 'issue', 'label']],
    [['github.issues.*'], ['issue', 'label']],
    [['github.issues.opened'], ['issue']],
    [['github.issue_comment.created', 'github.issues.labeled'], ['comment', 'label']],
    [['github.issue.*'], []],
    [['gitlab.*'], []],
  ];
  const subscribers = [];
  for (const [types] of cases) subscribers.push(await subscribe(t, scene, { event_types: types }));

  const events = {
    comment: (await scene.comment('Thank you!')).id,
    issue: (await scene.send('issueOpened', { text: 'It crashes.' })).id,
    label: (await scene.send('issueLabeled', { label: 'bug' })).id,
  };

  for (const [index, [types, wanted]] of cases.entries()) {
    for (const name of wanted) await arrival(subscribers[index], events[name]);
    const got = Object.keys(events).filter((name) => received(subscribers[index], events[name]).length > 0);
    assert.deepEqual(got, wanted, types.join());
  }
});

test('an owner\'s subscriber gets that owner\'s events alone', async (t) => {
  const [mine, theirs] = [await openScene(t, hub), await openScene(t, hub)];
  const [subscriber, other] = [await subscribe(t, mine), await subscribe(t, theirs)];

  const sent = await mine.comment('Thank you!');
  const foreign = await theirs.comment('Thank you, too!');
  await arrival(subscriber, sent.id);
  await arrival(other, foreign.id);

  assert.deepEqual(subscriber.deliveries.map(({ message }) => message.id), [sent.id]);
  assert.deepEqual(other.deliveries.map(({ message }) => message.id), [foreign.id]);
});

const failures = {
  'answers 500': { answer: { status: 500, body: 'no' } },
  'is redirected': { answer: { status: 302, headers: { location: 'http://127.0.0.1:1/' } } },
  'breaks the connection': { drop: true },
};
for (const [name, fault] of Object.entries(failures)) {
  test(`a subscriber that ${name} is listed as such and can be tried again`, async (t) => {
    const scene = await openScene(t, hub);
    const subscriber = await subscribe(t, scene);
    subscriber.fail(fault);

    const { id } = await scene.comment('Thank you!');
    const failed = await until('the failed attempt to be recorded', async () => {
      const { data } = await hub.ok('GET', `/api/v1/deliveries?event_id=${id}`);
      return data.length === 1 && data[0].attempts.length > 0 && data[0];
    });
    assert.notEqual(failed.status, 'delivered');
    assert.equal(failed.destination_id, subscriber.destination.id);
    await hub.ok('POST', `/api/v1/deliveries/${failed.id}/retry`);
    await arrival(subscriber, id);

    const done = await until('the delivery to be done', async () => {
      const { deliveries } = await hub.ok('GET', `/api/v1/events/${id}`);
      return deliveries[0].status === 'delivered' && deliveries[0];
    });
    assert.equal(done.id, failed.id);
    assert.equal(new Set(subscriber.requests.map(({ headers }) => headers['webhook-id'])).size, 1);
  });
}

const bodies = {
  'is long': { write: (reply) => reply.end('x'.repeat(4 * 2 ** 20)), kept: 'x'.repeat(4096) },
  'has no end': {
    write: (reply) => {
      const more = () => {
        while (reply.write('x'.repeat(2 ** 16)));
        reply.once('drain', more);
      };
      more();
    },
    kept: 'x'.repeat(4096),
  },
  'comes to a halt': { write: (reply) => void reply.write('so far'), kept: 'so far' },
};
for (const [name, { write, kept }] of Object.entries(bodies)) {
  test(`a 2xx whose body ${name} is a delivery`, async (t) => {
    const scene = await openScene(t, hub);
    let asked = 0;
    const server = createServer((request, reply) => {
      asked += 1;
      request.resume();
      reply.writeHead(200, { 'content-type': 'text/plain' });
      write(reply);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => { server.close(); server.closeAllConnections(); });
    await hub.ok('POST', '/api/v1/destinations', {
      name: 'back office', url: `http://127.0.0.1:${server.address().port}/`, event_types: ['github.*'], owner: scene.owner,
    });

    const { deliveries } = await scene.settled((await scene.comment('Thank you!')).id);

    assert.deepEqual([deliveries.length, deliveries[0].status, asked], [1, 'delivered', 1], JSON.stringify(deliveries));
    assert.deepEqual(deliveries[0].attempts.map(({ status, error, reply }) => [status, error, reply]), [[200, null, kept]]);
  });
}

test('a subscriber that is gone is switched off, and says so', async (t) => {
  const scene = await openScene(t, hub);
  const subscriber = await subscribe(t, scene);
  subscriber.fail({ answer: { status: 410, body: 'gone' } });

  const { deliveries } = await scene.settled((await scene.comment('Thank you!')).id);
  await scene.settled((await scene.comment('Anybody there?')).id);

  assert.equal(deliveries[0].status, 'failed');
  const { enabled, disabled_reason: reason } = await hub.ok('GET', `/api/v1/destinations/${subscriber.destination.id}`);
  assert.equal(enabled, false);
  assert.ok(reason);
  assert.equal(subscriber.requests.length, 1);
});

test('one subscriber that fails does not hold up another', async (t) => {
  const scene = await openScene(t, hub);
  const [broken, working] = [await subscribe(t, scene), await subscribe(t, scene)];
  broken.fail({ times: Infinity, answer: { status: 500, body: 'no' } });

  await arrival(working, (await scene.comment('Thank you!')).id);
});

test('a destination that is switched off or deleted gets nothing more', async (t) => {
  const scene = await openScene(t, hub);
  const [off, gone, witness] = [await subscribe(t, scene), await subscribe(t, scene), await subscribe(t, scene)];

  const patched = await hub.ok('PATCH', `/api/v1/destinations/${off.destination.id}`, { enabled: false });
  const deleted = await hub.api('DELETE', `/api/v1/destinations/${gone.destination.id}`);
  await arrival(witness, (await scene.comment('Thank you!')).id);

  assert.equal(patched.enabled, false);
  assert.equal(deleted.status, 204);
  assert.equal((await hub.api('GET', `/api/v1/destinations/${gone.destination.id}`)).status, 404);
  assert.deepEqual([off.requests, gone.requests], [[], []]);
});
