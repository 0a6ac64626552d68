// Somebody asks for the agent in Jira, and is answered there.
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { ISSUE, openJira } from '../support/jira-scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const HEARD = '👀 I am on it.';
const paragraph = (...content) => ({ type: 'doc', version: 1, content: [{ type: 'paragraph', content }] });
const plain = (text) => paragraph({ type: 'text', text });
const succeeded = (run) => assert.equal(run.status, 'succeeded', JSON.stringify(run));
const said = (scene) => scene.jira.written(ISSUE);
const first = (scene) => { const [body] = said(scene); return body?.content?.[0].content?.[0].text ?? body; };
const heard = (scene) => until('the acknowledgement', () => first(scene) === HEARD);

suite('an issue in Jira is answered', { concurrency: true }, () => {
  test('a mention in a comment: heard at once, progress as one comment, the result as a document', async (t) => {
    const scene = await openJira(t, hub);
    await scene.comment('It still burns.', { by: 'bob' });
    const id = await scene.comment(`[~accountid:${scene.id('bot')}] *look*, see [the build|https://ci.example.com/1]`);
    const letter = await scene.letter();

    const { context, thread } = letter.message.data;
    assert.equal(letter.message.type, 'conversation.started');
    assert.partialDeepStrictEqual(context, { issue: ISSUE, project: 'DEMO', user: 'ada', user_id: scene.id('ada'), comment: id, text: `[~accountid:${scene.id('bot')}] **look**, see [the build](https://ci.example.com/1)`, url: `${scene.jira.url}/browse/${ISSUE}`, links: ['https://ci.example.com/1'], status: 'To Do' });
    assert.deepEqual(thread.map(({ user, text }) => [user, text]).slice(0, 1), [['bob', 'It still burns.']]);
    await heard(scene);
    await scene.say(letter, 'progress', 'Looking.');
    await scene.say(letter, 'progress', 'Still **looking**.');
    assert.deepEqual(said(scene), [paragraph({ type: 'text', text: 'Still ' }, { type: 'text', text: 'looking', marks: [{ type: 'strong' }] }, { type: 'text', text: '.' })]);
    succeeded(await scene.say(letter, 'completed', '# Done\n\n- `a`\n- [b](https://example.com)\n\n> q\n\n```js\nok()\n```\n\n| x | y |\n| - | - |\n| 1 | 2 |\n\n[~accountid:5b1:ada]'));

    assert.equal(said(scene).length, 1);
    assert.deepEqual(said(scene)[0].content.map(({ type }) => type), ['heading', 'bulletList', 'blockquote', 'codeBlock', 'table', 'paragraph']);
    const change = 'PUT /issue/{id}/comment/{id}';
    assert.deepEqual(scene.jira.writes(), ['POST /issue/{id}/comment', change, change, change]);
  });

  test('a comment asks once, whatever its edits say, and an edit that brings the mention in asks', async (t) => {
    const scene = await openJira(t, hub);
    const id = await scene.comment('look');
    const edit = (text) => scene.comment(text, { event: 'comment_updated', id });
    await edit('please look');
    await edit('@patchbay look');
    const letter = await scene.letter();
    await edit('@patchbay look at the left one');
    succeeded(await scene.say(letter, 'completed', 'Done.'));
    await edit('@patchbay look at the right one');
    await scene.settled();

    assert.equal(scene.agent.deliveries.length, 1);
    assert.deepEqual(said(scene), [plain('Done.')]);
  });

  test('follow-ups of the team need no mention and join; the name of the agent does as a mention', async (t) => {
    const scene = await openJira(t, hub);
    await scene.comment('@patchbay look');
    const asked = await scene.letter();
    await scene.comment('It is the left one.', { by: 'bob' });
    const followed = await scene.letter(1);

    assert.equal(followed.message.type, 'conversation.message');
    assert.equal(followed.message.data.conversation_id, asked.message.data.conversation_id);
    succeeded(await scene.say(followed, 'completed', 'Done.'));
    assert.deepEqual(said(scene), [plain(HEARD), plain('Done.')]);
  });

  test('the label asks among others, once; what else changes afterwards does not', async (t) => {
    const scene = await openJira(t, hub);
    await scene.change([{ field: 'labels', fieldId: 'labels', from: null, to: null, fromString: 'bug', toString: 'bug patchbay hot' }]);
    const letter = await scene.letter();
    await scene.change([{ field: 'labels', fieldId: 'labels', from: null, to: null, fromString: 'bug patchbay hot', toString: 'patchbay' }], { fields: { labels: ['patchbay'] } });
    await scene.change([{ field: 'summary', fromString: 'a', toString: 'b' }], { fields: { labels: ['patchbay'] } });
    await scene.settled();

    assert.equal(letter.message.data.context.text, 'It burns.');
    assert.equal(scene.agent.deliveries.length, 1);
  });

  test('an issue that is given to the agent asks, one that is opened with a mention, and an edit that brings it in', async (t) => {
    const scene = await openJira(t, hub);
    await scene.change([{ field: 'assignee', from: null, fromString: null, to: scene.id('bot'), toString: 'bot' }]);
    await scene.letter();
    await scene.change(undefined, { event: 'jira:issue_created', fields: { description: 'Please, @patchbay!' } });
    await scene.letter(1);
    await scene.change([{ field: 'description', fromString: 'x', toString: '@patchbay look' }], { fields: { description: '@patchbay look' } });
    await scene.letter(2);
    await scene.change([{ field: 'description', fromString: '@patchbay look', toString: '@patchbay look!' }], { fields: { description: '@patchbay look!' } });
    await scene.settled();

    assert.equal(scene.agent.deliveries.length, 3);
  });

  test('nobody is asked by apps, customers, itself or strangers, or where the mention is only shown', async (t) => {
    const scene = await openJira(t, hub);
    await scene.comment('@patchbay look', { by: 'bot' });
    await scene.comment('@patchbay look', { author: { accountType: 'app' } });
    await scene.comment('@patchbay look', { author: { accountType: 'customer' } });
    await scene.comment('@patchbay look', { by: 'eve' });
    for (const text of ['bq. @patchbay look', '{quote}\n@patchbay look\n{quote}', '{code}\n@patchbay\n{code}', '{noformat}@patchbay{noformat}', '{{@patchbay}}', 'mail ada@patchbay.example', 'thanks']) await scene.comment(text);
    const events = await scene.settled();

    assert.equal(events.length, 11);
    assert.deepEqual(scene.agent.deliveries, []);
    assert.deepEqual(scene.jira.writes(), []);
  });

  test('it moves issues by name, changes fields, opens issues, and reads them', async (t) => {
    const scene = await openJira(t, hub, { destination: { allowed_actions: ['transition', 'update_issue', 'create_issue', 'get_issue'] } });
    await scene.comment('@patchbay fix it');
    const letter = await scene.letter();
    const act = (action, inputs) => scene.say(letter, 'progress', undefined, [{ action, inputs }]);

    const moved = await act('transition', { issue: ISSUE, to: 'in progress' });
    const again = await act('transition', { issue: ISSUE, to: 'In Progress' });
    const unknown = await act('transition', { issue: ISSUE, to: 'Flying' });
    const changed = await act('update_issue', { issue: ISSUE, summary: 'Printer burns', description: 'Put **out**.', add_labels: ['hot'] });
    const made = await act('create_issue', { project: 'DEMO', type: 'Task', summary: 'Buy an extinguisher', description: 'Soon.', parent: ISSUE });
    const read = await act('get_issue', { issue: ISSUE });

    for (const run of [moved, again, changed, made, read]) succeeded(run);
    assert.match(unknown.error.detail, /from In Progress no transition leads to Flying, but: Done/);
    assert.partialDeepStrictEqual(read.result, { summary: 'Printer burns', description: 'Put **out**.', status: 'In Progress', labels: ['hot'] });
    assert.equal(made.result.key, 'DEMO-43');
    for (const [action, inputs] of [['get_issue', { issue: 'DEMO-43' }], ['create_issue', { project: 'OTHER', type: 'Task', summary: 'x' }]]) {
      assert.equal((await scene.answer(letter, { status: 'progress', actions: [{ action, inputs }] })).status, 403);
    }
  });

  test('on a Data Center people go by their names, and texts are texts', async (t) => {
    const scene = await openJira(t, hub, { server: true });
    await scene.comment('[~bot] look');
    const letter = await scene.letter();
    await scene.say(letter, 'progress', 'Looking.');
    await scene.say(letter, 'progress', 'Still looking.');
    succeeded(await scene.say(letter, 'completed', 'It is out.'));

    assert.equal(letter.message.data.context.user_id, 'ada');
    assert.deepEqual(said(scene), ['It is out.']);
  });

  test('on a Data Center a personal access token does without an e-mail address', async (t) => {
    const scene = await openJira(t, hub, { server: true, personal: true });
    await scene.comment('[~bot] look');
    succeeded(await scene.say(await scene.letter(), 'completed', 'It is out.'));

    assert.deepEqual(said(scene), ['It is out.']);
  });

  test('webhooks of an OAuth app and of a Connect app come with a token', async (t) => {
    const sign = (claims, secret) => {
      const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
      return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;
    };
    for (const variant of ['dynamic', 'connect']) {
      const scene = await openJira(t, hub, { config: { variant } });
      const now = Math.floor(Date.now() / 1_000);
      const path = new URL(scene.path).pathname;
      const qsh = createHash('sha256').update(`POST&${path}&`).digest('hex');
      const token = (secret) => `${variant === 'dynamic' ? 'Bearer' : 'JWT'} ${sign({ iss: 'client-test', iat: now, exp: now + 180, qsh }, secret)}`;
      const payload = { webhookEvent: 'jira:issue_created', user: scene.person('ada'), issue: scene.issue({ description: '@patchbay look' }) };
      const forged = await scene.deliver(payload, { authorization: token('wrong') });
      await scene.must(payload, { authorization: token(scene.secret) });
      await scene.letter();

      assert.equal(forged.status, 401);
    }
  });

  test('a comment whose reply was lost is found by what it says, and a limit is waited for', async (t) => {
    const scene = await openJira(t, hub);
    scene.jira.fail({ method: 'POST', act: true, drop: true });
    await scene.comment('@patchbay look');
    const letter = await scene.letter();
    succeeded(await scene.say(letter, 'progress', 'Looking **closely**.'));
    scene.jira.fail({ method: 'PUT', answer: { status: 429, headers: { 'retry-after': '1' }, body: {} } });
    succeeded(await scene.say(letter, 'completed', 'Done.'));

    assert.deepEqual(said(scene), [plain('Done.')]);
  });

  test('an internal comment of a service desk is answered internally', async (t) => {
    const scene = await openJira(t, hub);
    await scene.comment('@patchbay look', { jsdPublic: false });
    succeeded(await scene.say(await scene.letter(), 'completed', 'Done.'));

    const own = scene.jira.comments(ISSUE).filter(({ author }) => author === scene.id('bot'));
    assert.ok(own.every(({ properties }) => properties?.[0].value.internal === true), JSON.stringify(own));
  });
});
