// The callback's token works for one conversation, and for the actions that its destination allows.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { openScene } from '../support/scene.mjs';

const hub = await startHub();
after(() => hub.close());

const comment = (repo, body = 'Also here.') => ({ action: 'create_comment', inputs: { repo, issue: 2, body } });

// Side by side: scenes do not see each other, and at each step a queue waits for a second.
suite('an agent may only do what it was allowed', { concurrency: true }, () => {
  test('actions on the conversation\'s own repository run, if they are allowed', async (t) => {
    const scene = await openScene(t, hub, { destination: { allowed_actions: ['create_comment'] } });

    const reply = await scene.answer(await scene.ask(), { status: 'completed', message: 'Done.', actions: [comment(scene.repo)] });

    assert.equal(reply.status, 202, JSON.stringify(reply.body));
    assert.equal(reply.body.runs.length, 2);
    for (const { id } of reply.body.runs) assert.equal((await scene.ended(id)).status, 'succeeded');
    assert.equal(scene.github.comments(scene.repo, 1).length, 1);
    assert.equal(scene.github.comments(scene.repo, 2).length, 1);
  });

  test('whatever is not allowed is refused as a whole: nothing runs', async (t) => {
    const scene = await openScene(t, hub, { destination: { allowed_actions: ['create_comment'] } });
    scene.github.addRepository('octo-org/secrets', { installation: scene.installation, issues: [2] });
    const asked = await scene.ask();
    const cases = {
      'another repository': [comment('octo-org/secrets')],
      'another repository behind a path': [comment(`${scene.repo}/../../octo-org/secrets`)],
      'an action that is not allowed': [{ action: 'get_permission', inputs: { repo: scene.repo, user: 'alice' } }],
      'one of two that is not allowed': [comment(scene.repo), comment('octo-org/secrets')],
    };

    for (const [name, actions] of Object.entries(cases)) {
      const reply = await scene.answer(asked, { status: 'progress', message: 'Look.', actions });
      assert.equal(reply.status, 403, `${name}: ${JSON.stringify(reply.body)}`);
      assert.equal(reply.body.code, 'FORBIDDEN', name);
    }
    // What had been let through would be posted before this one, or at the latest with it.
    await scene.ended((await scene.complete(asked, 'Done.')).body.runs[0].id);
    assert.deepEqual(scene.github.requestsTo('POST', /\/comments$/).map(({ path }) => path), [`/repos/${scene.repo}/issues/1/comments`]);
  });

  test('without a list of allowed actions an agent may answer, and nothing else', async (t) => {
    const scene = await openScene(t, hub);
    const asked = await scene.ask();

    assert.equal((await scene.answer(asked, { status: 'progress', actions: [comment(scene.repo)] })).status, 403);
    assert.equal((await scene.complete(asked, 'Done.')).status, 202);
  });

  test('a token works for its own conversation alone', async (t) => {
    const scene = await openScene(t, hub);
    const [one, other] = [await scene.ask('@patchbay one', { issue: 1 }), await scene.ask('@patchbay two', { issue: 2 })];
    const tokens = {
      'of another conversation': other.message.data.callback.token,
      'of nobody': 'x'.repeat(43),
      'of the administrator': hub.settings.PATCHBAY_ADMIN_TOKEN,
      'that is the id of the conversation': one.message.data.conversation_id,
    };

    for (const [name, token] of Object.entries(tokens)) {
      const reply = await scene.complete(one, 'Let me in.', { token });
      assert.ok([401, 403].includes(reply.status), `the token ${name} was answered ${reply.status}`);
    }
    assert.deepEqual(scene.github.comments(scene.repo, 1), []);
  });

  test('only the agent\'s destination gets the token; subscribers get the event', async (t) => {
    const scene = await openScene(t, hub);
    const { token } = (await scene.ask()).message.data.callback;

    const shown = await Promise.all(['/api/v1/events', '/api/v1/deliveries', '/api/v1/runs'].map((path) => hub.api('GET', path)));

    assert.ok(shown.every(({ status }) => status === 200));
    assert.ok(shown.every(({ bytes }) => !bytes.includes(token)));
  });
});
