// However often something is sent, and whatever is lost on the way: one event, one question, one comment.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { deliver, payloads } from '../support/payloads.mjs';
import { openScene } from '../support/scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const POSTS = { method: 'POST', path: /\/issues\/\d+\/comments$/ };
const bodies = (scene) => scene.github.comments(scene.repo, 1).map(({ body }) => body.split('\n')[0]);

const troubles = {
  'GitHub posts it, but its reply is lost': [{ ...POSTS, act: true, drop: true }],
  'GitHub posts it, but answers 502': [{ ...POSTS, act: true, answer: { status: 502, body: 'Bad Gateway' } }],
  'GitHub is down for two requests': [{ ...POSTS, times: 2, answer: { status: 502, body: 'Bad Gateway' } }],
  'the connection breaks before GitHub acts': [{ ...POSTS, drop: true }],
  'GitHub limits the rate': [{ ...POSTS, answer: { status: 429, headers: { 'retry-after': '1' }, body: { message: 'You have exceeded a secondary rate limit' } } }],
  'the reply is lost, and looking for it fails at first': [
    { ...POSTS, act: true, drop: true },
    { method: 'GET', path: POSTS.path, answer: { status: 503, body: { message: 'Service Unavailable' } } },
  ],
};

test('the same answer sent again gives the first reply and posts nothing', async (t) => {
  const scene = await openScene(t, hub);
  const asked = await scene.ask();

  const first = await scene.complete(asked, 'Done.');
  const whileRunning = await scene.complete(asked, 'Done.');
  await scene.ended(first.body.runs[0].id);
  const afterwards = await scene.complete(asked, 'Done.');

  const ids = ({ body }) => body.runs.map(({ id }) => id);
  assert.deepEqual([first, whileRunning, afterwards].map(({ status }) => status), [202, 202, 202]);
  assert.deepEqual([ids(whileRunning), ids(afterwards)], [ids(first), ids(first)]);
  await hub.tick();
  assert.deepEqual(bodies(scene), ['Done.']);
});

test('ten answers at the same moment post one comment', async (t) => {
  const scene = await openScene(t, hub);
  const asked = await scene.ask();

  const replies = await Promise.all(Array.from({ length: 10 }, () => scene.complete(asked, 'Done.')));

  const accepted = replies.filter(({ status }) => status === 202);
  assert.ok(accepted.length >= 1);
  // Somebody else is at it: that is the only other thing that may be said.
  assert.ok(replies.every(({ status }) => [202, 409].includes(status)), replies.map(({ status }) => status).join());
  assert.equal(new Set(accepted.map(({ body }) => body.runs[0].id)).size, 1);
  await scene.ended(accepted[0].body.runs[0].id);
  await hub.tick();
  assert.deepEqual(bodies(scene), ['Done.']);
});

test('100 deliveries of one id at the same moment are one event and one question', async (t) => {
  const scene = await openScene(t, hub);
  const [event, payload] = payloads.issueComment({ ...scene, user: 'alice', issue: 1, text: '@patchbay look' });
  const delivery = { secret: scene.secret, event, payload, id: randomUUID() };

  const replies = await Promise.all(Array.from({ length: 100 }, () => deliver(scene.path, delivery)));

  assert.deepEqual([...new Set(replies.map(({ status }) => status))], [202]);
  assert.equal(new Set(replies.map(({ body }) => body.id)).size, 1);
  assert.equal(replies.filter(({ body }) => !body.duplicate).length, 1);
  const { id } = replies[0].body;
  await scene.message(id);
  // All that is still due is sent in a tick.
  await scene.settled(id);
  await hub.tick();
  assert.equal(scene.messages(id).length, 1);
  const { data } = await hub.ok('GET', `/api/v1/events?connection_id=${scene.connection.id}`);
  assert.equal(data.filter((one) => one.deliveryid === delivery.id).length, 1);
});

test('a redelivery after the answer asks nobody again', async (t) => {
  const scene = await openScene(t, hub);
  const [event, payload] = payloads.issueComment({ ...scene, user: 'alice', issue: 1, text: '@patchbay look' });
  const delivery = { secret: scene.secret, event, payload, id: randomUUID() };
  const first = await deliver(scene.path, delivery);
  await scene.ended((await scene.complete(await scene.message(first.body.id), 'Done.')).body.runs[0].id);

  const second = await deliver(scene.path, delivery);
  await hub.tick();

  assert.deepEqual(second.body, { ...second.body, id: first.body.id, duplicate: true });
  assert.equal(scene.messages(first.body.id).length, 1);
  assert.deepEqual(bodies(scene), ['Done.']);
});

test('what cron has taken up is tried again within seconds, not at the next cron', async (t) => {
  const scene = await openScene(t, hub);
  const asked = await scene.ask();
  scene.github.fail({ ...POSTS, answer: { status: 502, body: 'Bad Gateway' } });

  const reply = await scene.complete(asked, 'Done.');
  await hub.tick();
  const run = await scene.ended(reply.body.runs[0].id);

  assert.equal(run.status, 'succeeded', JSON.stringify(run));
  assert.deepEqual(bodies(scene), ['Done.']);
});

// Side by side: scenes do not see each other, and before each attempt the hub waits for seconds.
suite('whatever goes wrong, there is one comment in the end', { concurrency: true }, () => {
  for (const [name, faults] of Object.entries(troubles)) {
    test(`${name}`, async (t) => {
      const scene = await openScene(t, hub);
      const asked = await scene.ask();
      for (const fault of faults) scene.github.fail(fault);

      const reply = await scene.complete(asked, 'Done.');
      const run = await scene.ended(reply.body.runs[0].id);

      assert.equal(run.status, 'succeeded', JSON.stringify(run));
      assert.deepEqual(bodies(scene), ['Done.']);
    });
  }

  test('an answer waits until a token is to be had', async (t) => {
    const scene = await openScene(t, hub);
    const asked = await scene.ask();
    scene.github.revokeTokens();
    scene.github.fail({ method: 'POST', path: /\/access_tokens$/, answer: { status: 500, body: { message: 'Server Error' } } });

    const run = await scene.ended((await scene.complete(asked, 'Done.')).body.runs[0].id);

    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    assert.deepEqual(bodies(scene), ['Done.']);
  });

  test('a question waits until the sender\'s permission can be asked for', async (t) => {
    const scene = await openScene(t, hub);
    scene.github.fail({ method: 'POST', path: /\/access_tokens$/, answer: { status: 502, body: 'Bad Gateway' } });
    scene.github.fail({ path: /\/permission$/, drop: true });

    const { id } = await scene.comment('@patchbay look');
    const { data } = await until('the failed attempt to be recorded', async () => {
      const page = await hub.ok('GET', `/api/v1/deliveries?event_id=${id}`);
      return page.data[0]?.attempts.length > 0 && page;
    });
    assert.deepEqual(scene.agent.requests, []);
    assert.equal(data[0].status, 'pending', JSON.stringify(data[0]));
    await until('the agent to be asked', async () => {
      if (scene.messages(id).length === 0) await hub.api('POST', `/api/v1/deliveries/${data[0].id}/retry`);
      return scene.messages(id).length === 1;
    });
  });

  test('the same words in a later answer are a comment of their own', async (t) => {
    const scene = await openScene(t, hub);
    await scene.ended((await scene.complete(await scene.ask(), 'Done.')).body.runs[0].id);
    const again = await scene.message((await scene.comment('@patchbay and now?')).id);
    scene.github.fail({ ...POSTS, drop: true });

    const run = await scene.ended((await scene.complete(again, 'Done.')).body.runs[0].id);

    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    assert.deepEqual(bodies(scene), ['Done.', 'Done.']);
  });

  test('a question is asked again with the same id until the agent has taken it', async (t) => {
    const scene = await openScene(t, hub);
    scene.agent.fail({ answer: { status: 500, body: 'not now' } });

    const { id } = await scene.comment('@patchbay look');
    const delivery = await until('the failed attempt to be recorded', async () => {
      const { data } = await hub.ok('GET', `/api/v1/deliveries?event_id=${id}`);
      return data.length === 1 && data[0].attempts.length > 0 && data[0];
    });
    await hub.ok('POST', `/api/v1/deliveries/${delivery.id}/retry`);
    await scene.message(id);

    const ids = scene.agent.requests.map(({ headers }) => headers['webhook-id']);
    assert.ok(ids.length >= 2);
    assert.equal(new Set(ids).size, 1);
  });
});
