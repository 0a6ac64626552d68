// Somebody asks for the agent in Linear, and is answered there.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { ISSUE, openLinear } from '../support/linear-scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const said = (scene) => scene.linear.written(ISSUE);
const succeeded = (run) => assert.equal(run.status, 'succeeded', JSON.stringify(run));

suite('an issue in Linear is answered', { concurrency: true }, () => {
  test('a mention in a comment: heard at once, progress as one comment, the result in its thread', async (t) => {
    const scene = await openLinear(t, hub);
    const first = await scene.comment('It still burns.', { user: 'u-bob' });
    const id = await scene.comment('@patchbay **look**, see https://ci.example.com/1');
    const letter = await scene.letter();

    const { context, thread } = letter.message.data;
    assert.equal(letter.message.type, 'conversation.started');
    assert.partialDeepStrictEqual(context, { issue: ISSUE, identifier: 'DEMO-1', team: 'DEMO', user: 'alice', user_id: 'u-alice', text: '@patchbay **look**, see https://ci.example.com/1', comment: id, thread: id, links: ['https://ci.example.com/1'] });
    assert.deepEqual(thread.map(({ user, text }) => [user, text]), [['bob', 'It still burns.']]);
    await scene.say(letter, 'progress', 'Looking.');
    await scene.say(letter, 'progress', 'Still **looking**.');
    succeeded(await scene.say(letter, 'completed', 'It is out.'));

    assert.deepEqual(said(scene), [{ body: 'Still **looking**.', parentId: id }, { body: 'It is out.', parentId: id }]);
    await until('the reaction', () => scene.linear.reactions(id).length > 0);
    assert.deepEqual(scene.linear.reactions(id), ['👀']);
    assert.deepEqual(scene.linear.reactions(first), []);
    assert.deepEqual(scene.linear.writes(), ['reactionCreate', 'commentCreate', 'commentUpdate', 'commentCreate']);
  });

  test('a follow-up needs no mention and joins, in the thread where it was written', async (t) => {
    const scene = await openLinear(t, hub);
    const root = await scene.comment('@patchbay look');
    const asked = await scene.letter();
    await scene.comment('It is the left one.', { user: 'u-bob', parentId: root });
    const followed = await scene.letter(1);

    assert.equal(followed.message.type, 'conversation.message');
    assert.equal(followed.message.data.conversation_id, asked.message.data.conversation_id);
    succeeded(await scene.say(followed, 'completed', 'Done.'));
    assert.deepEqual(said(scene), [{ body: 'Done.', parentId: root }]);
  });

  test('the label asks once, beside other labels and whatever else changes afterwards', async (t) => {
    const scene = await openLinear(t, hub);
    scene.linear.issue(ISSUE).labelIds = ['label-bug', 'label-agent'];
    await scene.update({ labelIds: ['label-bug'] });
    const letter = await scene.letter();
    await scene.update({ title: 'Printer burns' });
    await scene.update({ labelIds: ['label-agent'] });
    // What an older reader would look at does not count.
    await scene.must({ action: 'update', type: 'Issue', actor: scene.actor('u-alice'), data: { ...scene.full(), updatedFrom: { labelIds: [] } }, updatedFrom: {} });
    await scene.settled();

    assert.equal(letter.message.data.context.text, 'It burns.');
    succeeded(await scene.say(letter, 'completed', 'Done.'));
    assert.deepEqual(said(scene), [{ body: 'Done.' }]);
    assert.deepEqual(scene.linear.reactions(ISSUE), ['👀']);
    assert.equal(scene.agent.deliveries.length, 1);
  });

  test('an issue that is given to the agent asks, and so does one that is opened with a mention', async (t) => {
    const scene = await openLinear(t, hub);
    await scene.update({ assigneeId: null }, { assigneeId: 'u-bot', assignee: { id: 'u-bot', name: 'bot' } });
    await scene.letter();
    await scene.must({ action: 'create', type: 'Issue', actor: scene.actor('u-alice'), url: 'https://linear.app/demo/issue/DEMO-1', data: scene.full({ description: 'Please, @patchbay!' }) });
    const opened = await scene.letter(1);
    await scene.update({ assigneeId: 'u-bot' }, { assigneeId: 'u-bob' });
    await scene.settled();

    assert.equal(opened.message.data.context.text, 'Please, @patchbay!');
    assert.equal(scene.agent.deliveries.length, 2);
  });

  test('an agent session: a thought at once, ephemeral progress, a response, and prompts that follow', async (t) => {
    const scene = await openLinear(t, hub);
    scene.linear.addSession('session-1');
    const comment = { id: scene.linear.say(ISSUE, 'u-alice', '@agent look'), body: '@agent look', userId: 'u-alice', issueId: ISSUE };
    await scene.session('session-1', { comment });
    const letter = await scene.letter();
    assert.partialDeepStrictEqual(letter.message.data.context, { session: 'session-1', issue: ISSUE, text: '@agent look', prompt: '<issue identifier="DEMO-1"/>', user_id: 'u-alice' });
    await scene.say(letter, 'progress', 'Looking.');
    succeeded(await scene.say(letter, 'completed', 'It is out.'));
    await scene.session('session-1', { activity: { content: { type: 'prompt', body: 'Sure?' } } });
    const prompted = await scene.letter(1);
    succeeded(await scene.say(prompted, 'failed', 'I cannot see it.'));
    await scene.session('session-1', { activity: { signal: 'stop', content: { type: 'prompt', body: 'Stop' } } });
    const stopped = await scene.letter(2);

    assert.equal(prompted.message.data.conversation_id, letter.message.data.conversation_id);
    assert.equal(stopped.message.data.context.stop, true);
    const activities = await until('all activities', () => scene.linear.activities('session-1').length >= 6 && scene.linear.activities('session-1'));
    const heard = { type: 'thought', body: 'I am on it.', ephemeral: true };
    assert.deepEqual(activities, [heard, { type: 'thought', body: 'Looking.', ephemeral: true }, { type: 'response', body: 'It is out.' }, heard, { type: 'error', body: 'I cannot see it.' }, heard]);
    assert.deepEqual(said(scene), []);
  });

  test('it changes status and labels by name, and opens an issue', async (t) => {
    const scene = await openLinear(t, hub, { destination: { allowed_actions: ['update_status', 'add_labels', 'remove_labels', 'create_issue', 'get_issue'] } });
    await scene.comment('@patchbay fix it');
    const letter = await scene.letter();
    const act = (action, inputs) => scene.say(letter, 'progress', undefined, [{ action, inputs }]);

    succeeded(await act('update_status', { issue: ISSUE, status: 'in progress' }));
    succeeded(await act('add_labels', { issue: ISSUE, labels: ['Bug', 'patchbay'] }));
    succeeded(await act('remove_labels', { issue: ISSUE, labels: ['patchbay'] }));
    const made = await act('create_issue', { team: 'DEMO', title: 'Buy an extinguisher', parent: ISSUE, priority: 2 });
    const unknown = await act('update_status', { issue: ISSUE, status: 'Flying' });
    const read = await act('get_issue', { issue: ISSUE });

    assert.deepEqual(made.result.identifier, 'DEMO-2');
    assert.equal(scene.linear.issues().length, 2);
    assert.match(unknown.error.detail, /no status Flying, but: Todo, In Progress, Done/);
    assert.partialDeepStrictEqual(read.result, { status: 'In Progress', labels: ['Bug'], team: 'DEMO' });
    for (const [action, inputs] of [['get_issue', { issue: 'issue-2' }], ['create_issue', { team: 'OTHER', title: 'x' }]]) {
      assert.equal((await scene.answer(letter, { status: 'progress', actions: [{ action, inputs }] })).status, 403);
    }
    assert.deepEqual(scene.linear.writes().filter((name) => name !== 'reactionCreate'), ['issueUpdate', 'issueUpdate', 'issueUpdate', 'issueCreate']);
  });

  test('nobody is asked by bots, by itself, by guests, or where the mention is only shown', async (t) => {
    const scene = await openLinear(t, hub);
    await scene.comment('@patchbay look', { user: 'u-bot' });
    await scene.comment('@patchbay look', { user: 'u-guest' });
    await scene.comment('@patchbay look', { user: 'u-unknown' });
    await scene.comment('@patchbay look', { botActor: '{"type":"github"}' });
    await scene.comment('> @patchbay look');
    await scene.comment('`@patchbay` and\n\n```\n@patchbay\n```');
    await scene.comment('thanks');
    await scene.must({ action: 'update', type: 'Comment', actor: scene.actor('u-alice'), data: { id: 'c', body: '@patchbay again', issueId: ISSUE, userId: 'u-alice' }, updatedFrom: { body: '@patchbay look' } });
    const events = await scene.settled();

    assert.equal(events.length, 8);
    assert.deepEqual(scene.agent.deliveries, []);
    assert.deepEqual(scene.linear.writes(), []);
  });

  test('a delivery that comes twice is one, and an old one is refused', async (t) => {
    const scene = await openLinear(t, hub);
    const payload = { action: 'create', type: 'Issue', actor: scene.actor('u-alice'), data: scene.full({ description: '@patchbay look' }) };
    const statuses = [];
    for (const options of [{ delivery: 'd-1' }, { delivery: 'd-1' }, { delivery: 'd-2', at: Date.now() - 90_000 }]) statuses.push((await scene.deliver(payload, options)).status);
    await scene.letter();
    await scene.settled();

    assert.deepEqual(statuses, [202, 202, 401]);
    assert.equal(scene.agent.deliveries.length, 1);
  });

  test('what was written although its reply was lost is found by its id, and a limit is waited for', async (t) => {
    const scene = await openLinear(t, hub);
    await scene.comment('@patchbay look');
    const letter = await scene.letter();
    await until('the reaction', () => scene.linear.writes().length > 0);
    scene.linear.fail({ act: true, drop: true });
    succeeded(await scene.say(letter, 'progress', 'Looking.'));
    const limited = { message: 'Rate limit exceeded', extensions: { type: 'ratelimited', code: 'RATELIMITED' } };
    scene.linear.fail({ answer: { status: 400, headers: { 'x-ratelimit-requests-remaining': '0', 'x-ratelimit-requests-reset': String(Date.now() + 1_000) }, body: { errors: [limited] } } });
    succeeded(await scene.say(letter, 'completed', 'Done.'));

    assert.deepEqual(said(scene).map(({ body }) => body), ['Looking.', 'Done.']);
  });

  test('a key that was revoked is an end with its cause, and the key is neither shown nor given to the agent', async (t) => {
    const scene = await openLinear(t, hub);
    await scene.comment('@patchbay look');
    const letter = await scene.letter();
    await until('the reaction', () => scene.linear.writes().length > 0);
    scene.linear.fail({ answer: { status: 401, body: { errors: [{ message: 'Authentication required, not authenticated', extensions: { type: 'authentication error', code: 'AUTHENTICATION_ERROR' } }] } } });
    const run = await scene.say(letter, 'completed', 'Done.');

    assert.equal(run.error?.code, 'REAUTH_REQUIRED', JSON.stringify(run));
    const shown = await hub.ok('GET', `/api/v1/connections/${scene.connection.id}`);
    for (const text of [JSON.stringify(letter.message), JSON.stringify(shown), hub.logs().join('\n')]) assert.ok(!text.includes(scene.key));
  });
});
