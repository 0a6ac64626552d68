// Somebody asks for the agent in GitLab, and is answered there.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { ISSUE, MERGE, openGitLab, REPO } from '../support/gitlab-scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const succeeded = (run) => assert.equal(run.status, 'succeeded', JSON.stringify(run));

suite('an issue in GitLab is answered', { concurrency: true }, () => {
  test('a mention in a note: heard at once, progress as one note, the result in the discussion', async (t) => {
    const scene = await openGitLab(t, hub);
    await scene.note('It still burns.', { by: 'bob' });
    const note = await scene.note('@patchbay **look**, see https://ci.example.com/1');
    const letter = await scene.letter();

    const { context, thread } = letter.message.data;
    assert.equal(letter.message.type, 'conversation.started');
    assert.partialDeepStrictEqual(context, { repo: REPO, kind: 'issues', issue: 17, user: 'alice', user_id: 42, note: note.id, discussion: note.discussion, text: '@patchbay **look**, see https://ci.example.com/1', links: ['https://ci.example.com/1'], visibility: 'private', default_branch: 'main' });
    assert.deepEqual(thread.map(({ user, text }) => [user, text]), [['bob', 'It still burns.']]);
    await scene.say(letter, 'progress', 'Looking.');
    await scene.say(letter, 'progress', 'Still **looking**.');
    succeeded(await scene.say(letter, 'completed', 'It is out.'));

    assert.deepEqual(scene.gitlab.written(ISSUE), ['Still **looking**.', 'It is out.'].map((body) => ({ body, discussion: note.discussion })));
    await until('the emoji', () => scene.gitlab.emoji(ISSUE, note.id).length > 0);
    const there = '/{kind}/{n}';
    assert.deepEqual(scene.gitlab.writes(), [`POST ${there}/notes/{n}/award_emoji`, `POST ${there}/discussions/{hash}/notes`, `PUT ${there}/notes/{n}`, `POST ${there}/discussions/{hash}/notes`]);
    assert.deepEqual(scene.gitlab.emoji(ISSUE, note.id), ['eyes']);
  });

  test('in a discussion of a merge request the answer stays there, and who follows needs no mention', async (t) => {
    const scene = await openGitLab(t, hub);
    const first = await scene.note('Why this?', { by: 'bob', on: MERGE, position: { new_path: 'src/main.js', new_line: 3 } });
    await scene.note('@patchbay look', { on: MERGE, discussion: first.discussion, type: 'DiffNote', position: { new_path: 'src/main.js', new_line: 3 } });
    const asked = await scene.letter();
    await scene.note('It is the left one.', { by: 'bob', on: MERGE, discussion: first.discussion });
    const followed = await scene.letter(1);

    assert.partialDeepStrictEqual(asked.message.data.context, { kind: 'merge_requests', issue: 18, file: 'src/main.js', line: 3, branch: 'fix' });
    assert.deepEqual(asked.message.data.thread.map(({ text }) => text), ['Why this?']);
    assert.equal(followed.message.type, 'conversation.message');
    assert.equal(followed.message.data.conversation_id, asked.message.data.conversation_id);
    succeeded(await scene.say(followed, 'completed', 'Done.'));
    assert.deepEqual(scene.gitlab.written(MERGE), [{ body: 'Done.', discussion: first.discussion }]);
  });

  test('the label asks once, beside other labels and whatever else changes afterwards', async (t) => {
    const scene = await openGitLab(t, hub);
    const [bug, agent] = [{ id: 1, title: 'Bug' }, { id: 2, title: 'Patchbay' }];
    await scene.item('update', { labels: [bug, agent], changes: { labels: { previous: [bug], current: [bug, agent] } } });
    const letter = await scene.letter();
    await scene.item('update', { labels: [bug, agent], changes: { title: { previous: 'a', current: 'b' } } });
    await scene.item('update', { labels: [agent], changes: { labels: { previous: [bug, agent], current: [agent] } } });
    await scene.settled();

    assert.equal(letter.message.data.context.text, 'It burns.');
    succeeded(await scene.say(letter, 'completed', 'Done.'));
    assert.deepEqual(scene.gitlab.written(ISSUE), [{ body: 'Done.' }]);
    assert.deepEqual(scene.gitlab.emoji(ISSUE), ['eyes']);
    assert.equal(scene.agent.deliveries.length, 1);
  });

  test('new issues and merge requests that mention the agent ask, and edits that bring the mention in', async (t) => {
    const scene = await openGitLab(t, hub);
    await scene.item('open', { description: '@patchbay look' });
    const opened = await scene.letter();
    await scene.item('open', { on: MERGE, description: 'Review this, @patchbay' });
    await scene.letter(1);
    await scene.item('update', { on: MERGE, description: '@patchbay again', changes: { description: { previous: 'x', current: '@patchbay again' } } });
    await scene.letter(2);
    await scene.item('update', { on: MERGE, description: '@patchbay again!', changes: { description: { previous: '@patchbay again', current: '@patchbay again!' } } });
    await scene.settled();

    assert.equal(opened.message.data.context.text, '@patchbay look');
    assert.equal(scene.agent.deliveries.length, 3);
  });

  test('the second of two quick edits of one note brings the mention in; a delivery that comes twice and later edits do not ask again', async (t) => {
    const scene = await openGitLab(t, hub);
    const note = await scene.note('look', { delivery: 'd-1' });
    const again = (text, delivery) => scene.note(text, { action: 'update', delivery, id: note.id });
    await again('please look', 'd-2');
    await again('@patchbay look', 'd-3');
    await again('@patchbay look', 'd-3');
    const letter = await scene.letter();
    await again('@patchbay look at the left one', 'd-4');
    await scene.settled();
    succeeded(await scene.say(letter, 'completed', 'Done.'));
    await again('@patchbay look at the right one', 'd-5');
    await scene.note('@patchbay and this', { delivery: 'd-6' });
    await scene.letter(1);
    await scene.settled();

    assert.deepEqual(scene.agent.deliveries.map(({ message }) => message.data.context.text), ['@patchbay look', '@patchbay and this']);
  });

  test('nobody is asked by bots, by itself, by guests and strangers, by system notes, or where the mention is only shown', async (t) => {
    const scene = await openGitLab(t, hub);
    for (const by of ['patchbay', 'project_5_bot_a1', 'guest', 'stranger']) await scene.note('@patchbay look', { by });
    await scene.note('mentioned in @patchbay', { system: true });
    await scene.note('> @patchbay look');
    await scene.note('`@patchbay` <!-- @patchbay -->');
    await scene.note('thanks');
    const events = await scene.settled();

    assert.equal(events.length, 8);
    assert.deepEqual(scene.agent.deliveries, []);
    assert.deepEqual(scene.gitlab.writes(), []);
  });

  test('a secret token works as the signing token does; a wrong one of either is refused', async (t) => {
    for (const signing of [true, false]) {
      const scene = await openGitLab(t, hub, { signing });
      const refused = await scene.deliver({ object_kind: 'note' }, { forged: 'wrong' });
      assert.equal(refused.status, 401);
      await scene.note('@patchbay look');
      succeeded(await scene.say(await scene.letter(), 'completed', 'Done.'));
    }
  });

  test('it commits to a new branch, opens a merge request, sets labels, and reads files', async (t) => {
    const scene = await openGitLab(t, hub, { destination: { allowed_actions: ['push_commit', 'create_merge_request', 'add_labels', 'remove_labels', 'read_file'] } });
    await scene.note('@patchbay fix it');
    const letter = await scene.letter();
    const act = (action, inputs) => scene.say(letter, 'progress', undefined, [{ action, inputs: { repo: REPO, ...inputs } }]);
    const merge = { title: 'Fix', source_branch: 'fix', target_branch: 'main' };

    const pushed = await act('push_commit', { branch: 'fix', message: 'Put it out', files: [{ path: 'src/main.js', content: 'ok();\n' }, { path: 'logo.png', content: 'AQID', encoding: 'base64' }], delete: ['README.md'] });
    const opened = await act('create_merge_request', merge);
    const again = await act('create_merge_request', { ...merge, title: 'Again' });
    const read = await act('read_file', { path: 'src/main.js', ref: 'fix' });
    await act('add_labels', { kind: 'issues', issue: 17, labels: ['Bug', 'Now'] });
    succeeded(await act('remove_labels', { kind: 'issues', issue: 17, labels: ['Now'] }));

    for (const run of [pushed, opened, again, read]) succeeded(run);
    assert.deepEqual(Object.keys(scene.gitlab.files('fix')).sort(), ['logo.png', 'src/main.js']);
    assert.deepEqual(Object.keys(scene.gitlab.files('main')), ['README.md']);
    assert.equal(read.result.content, 'ok();\n');
    assert.deepEqual([opened.result.created, again.result.created, again.result.issue], [true, false, opened.result.issue]);
    assert.deepEqual(scene.gitlab.labels(ISSUE), ['Bug']);
    assert.equal((await scene.answer(letter, { status: 'progress', actions: [{ action: 'read_file', inputs: { repo: 'other/app', path: 'x' } }] })).status, 403);
  });

  test('a push whose reply was lost is one commit, and a file that changed meanwhile is read anew', async (t) => {
    const scene = await openGitLab(t, hub, { destination: { allowed_actions: ['push_commit'] } });
    await scene.note('@patchbay fix it');
    const letter = await scene.letter();
    const push = (text) => scene.say(letter, 'progress', undefined, [{ action: 'push_commit', inputs: { repo: REPO, branch: 'main', message: text, files: [{ path: 'README.md', content: `# ${text}\n` }] } }]);
    scene.gitlab.fail({ method: 'POST', path: /commits$/, act: true, drop: true });
    const first = await push('One');
    let release;
    scene.gitlab.fail({ method: 'POST', path: /commits$/, hold: new Promise((resolve) => { release = resolve; }) });
    const second = push('Two');
    await until('the commit to be asked for', () => scene.gitlab.requests.filter(({ method, path }) => method === 'POST' && /commits$/.test(path)).length >= 2);
    scene.gitlab.commit('main', 'README.md', '# Theirs\n');
    release();
    const ended = await second;

    succeeded(first);
    succeeded(ended);
    assert.deepEqual(scene.gitlab.commits('main'), ['Two', 'other README.md', 'One', 'first']);
  });

  test('a note whose reply was lost is found by its mark, and a limit is waited for', async (t) => {
    const scene = await openGitLab(t, hub);
    const { id } = await scene.note('@patchbay look');
    const letter = await scene.letter();
    await until('the emoji', () => scene.gitlab.emoji(ISSUE, id).length > 0);
    scene.gitlab.fail({ method: 'POST', act: true, drop: true });
    succeeded(await scene.say(letter, 'progress', 'Looking.'));
    scene.gitlab.fail({ method: 'POST', answer: { status: 429, headers: { 'retry-after': '1' }, body: { message: '429 Too Many Requests' } } });
    succeeded(await scene.say(letter, 'completed', 'Done.'));

    assert.deepEqual(scene.gitlab.written(ISSUE).map(({ body }) => body), ['Looking.', 'Done.']);
  });
});
