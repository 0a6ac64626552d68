// What was accepted is dispatched, even if the server is killed before it came to that.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { SETTINGS } from '../support/hub.mjs';
import { openScene } from '../support/scene.mjs';
import { makePlace, startWrangler } from '../support/wrangler-dev.mjs';

const place = await makePlace(SETTINGS);
after(() => place.remove());

let server;
after(() => server?.kill());

test('an event whose 202 was the last thing the server did is dispatched after a restart', async (t) => {
  server = await startWrangler(place);
  const scene = await openScene(t, server);

  const { result: id } = await killRightAfter(scene, {
    act: async (issue) => (await scene.comment('@patchbay look', { issue })).id,
  });
  assert.deepEqual(scene.messages(id), []);
  server = await startWrangler(place);
  const { status } = await server.tick();

  assert.equal(status, 200);
  const asked = await scene.message(id);
  assert.equal(asked.message.type, 'conversation.started');
  const { deliveries } = await scene.settled(id);
  assert.deepEqual(deliveries.map((delivery) => delivery.status), ['delivered']);
  assert.equal(scene.messages(id).length, 1);
});

test('an answer that was accepted is posted after a restart, once', async (t) => {
  const scene = await openScene(t, server);

  const { issue, result: run } = await killRightAfter(scene, {
    prepare: (issue) => scene.ask('@patchbay look', { issue }),
    act: async (issue, asked) => {
      const reply = await scene.complete(asked, 'Done.');
      assert.equal(reply.status, 202, JSON.stringify(reply.body));
      return reply.body.runs[0].id;
    },
  });
  assert.deepEqual(scene.github.comments(scene.repo, issue), []);
  server = await startWrangler(place);
  await server.tick();

  assert.equal((await scene.ended(run)).status, 'succeeded');
  assert.equal(scene.github.comments(scene.repo, issue).length, 1);
});

test('an answer of several parts that was accepted is carried out after a restart, in order, once', async (t) => {
  const scene = await openScene(t, server, { destination: { allowed_actions: ['create_comment'] } });

  const { issue, result: runs } = await killRightAfter(scene, {
    prepare: (issue) => scene.ask('@patchbay look', { issue }),
    act: async (issue, asked) => {
      const actions = ['Second.', 'Third.'].map((body) => ({ action: 'create_comment', inputs: { repo: scene.repo, issue, body } }));
      const reply = await scene.answer(asked, { status: 'completed', message: 'First.', actions });
      assert.equal(reply.status, 202, JSON.stringify(reply.body));
      return reply.body.runs.map(({ id }) => id);
    },
  });
  server = await startWrangler(place);
  await server.tick();

  assert.equal((await scene.ended(runs.at(-1))).status, 'succeeded');
  assert.deepEqual(scene.github.comments(scene.repo, issue).map(({ body }) => body.split('\n')[0]), ['First.', 'Second.', 'Third.']);
});

/**
 * Kills the server as soon as `act` is done. What that left to do is done within a second or so: if a fake was asked
 * for anything before the kill, this has proved nothing and is repeated on another issue.
 */
async function killRightAfter(scene, { prepare = () => {}, act }) {
  const requests = () => scene.github.requests.length + scene.agent.requests.length;
  for (let issue = 1; issue <= 5; issue += 1) {
    const prepared = await prepare(issue);
    const before = requests();
    const result = await act(issue, prepared);
    await server.kill();
    if (requests() === before) return { issue, result };
    server = await startWrangler(place);
  }
  return assert.fail('the server was faster than the kill, five times');
}
