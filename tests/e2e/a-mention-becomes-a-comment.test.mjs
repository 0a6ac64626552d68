// Somebody mentions the agent on GitHub; the agent's answer appears there as a comment.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { APP_ID, openScene } from '../support/scene.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const BOT = { login: 'dependabot[bot]', type: 'Bot' };

const keys = {
  'as GitHub hands it out (PKCS#1)': (key) => key.pkcs1,
  'as PKCS#8': (key) => key.pkcs8,
  'with Windows line ends': (key) => key.pkcs1.replaceAll('\n', '\r\n'),
  'in one line, as an environment variable holds it': (key) => key.pkcs1.trim().replaceAll('\n', '\\n'),
};

const texts = {
  'Markdown and other scripts': '# Résumé\n\n- 修正しました 🎉\n- `a < b && c > d`\n\n> "quoted" \\ end',
  'what looks like a template': '{{ config.private_key }} {% if true %}{{ 7 * 7 }}{% endif %} {# gone? #}',
  'what looks like a marker of the hub': '<!-- patchbay:run_00000000000000000000000000 -->',
};

/** Without the comment by which the hub finds its own again; readers on GitHub do not see that either. */
function visible(body) {
  return body.replace(/\s*<!--.*?-->\s*$/s, '');
}

// Side by side: scenes do not see each other, and at each step a queue waits for a second.
suite('a mention becomes a comment', { concurrency: true }, () => {
  test('a mention asks the agent, and its answer is posted on the issue', async (t) => {
    const scene = await openScene(t, hub);

    const asked = await scene.ask('Hello @patchbay, why does it crash?', { issue: 3 });
    const reply = await scene.complete(asked, 'It divides by zero. **Fixed**.');

    const { message } = asked;
    assert.equal(message.type, 'conversation.started');
    assert.match(message.timestamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.match(message.data.conversation_id, /^cnv_/);
    assert.equal(message.data.owner, scene.owner);
    assert.equal(message.data.callback.url, `${hub.settings.PATCHBAY_PUBLIC_URL}/api/v1/webhooks`);
    assert.equal(message.data.event.type, 'github.issue_comment.created');
    assert.partialDeepStrictEqual(message.data.context, {
      repo: scene.repo, issue: 3, user: 'alice', text: 'Hello @patchbay, why does it crash?',
    });
    assert.match(message.data.context.url, new RegExp(`^https://github.com/${scene.repo}/issues/3#issuecomment-`));

    assert.equal(reply.status, 202);
    assert.deepEqual(reply.body.runs.map(({ action }) => action), ['create_comment']);
    const run = await scene.ended(reply.body.runs[0].id);
    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    assert.equal(run.conversation_id, message.data.conversation_id);
    const comments = scene.github.comments(scene.repo, 3);
    assert.equal(comments.length, 1);
    assert.equal(visible(comments[0].body), 'It divides by zero. **Fixed**.');
  });

  test('it is posted with a 520-character installation token, minted from the App\'s key', async (t) => {
    const scene = await openScene(t, hub);

    await scene.ended((await scene.complete(await scene.ask(), 'Done.')).body.runs[0].id);

    const [posted] = scene.github.requestsTo('POST', /\/comments$/);
    const [, token] = posted.headers.authorization.split('Bearer ');
    assert.equal(token.length, 520);
    assert.ok(scene.github.tokens().includes(token));
    const minted = scene.github.requestsTo('POST', /\/access_tokens$/);
    assert.ok(minted.length >= 1 && minted.every(({ reply }) => reply.status === 201));
  });

  for (const [name, form] of Object.entries(keys)) {
    test(`the private key works ${name}`, async (t) => {
      // The keys of all scenes are one: any scene knows it.
      const { key } = await openScene(t, hub);
      const scene = await openScene(t, hub, { config: { private_key: form(key) } });

      const run = await scene.ended((await scene.complete(await scene.ask(), 'Done.')).body.runs[0].id);

      assert.equal(run.status, 'succeeded', JSON.stringify(run));
    });
  }

  test('an Enterprise Server with its API under a path works', async (t) => {
    const scene = await openScene(t, hub, { basePath: '/api/v3' });

    await scene.ended((await scene.complete(await scene.ask(), 'Done.')).body.runs[0].id);

    assert.equal(scene.github.comments(scene.repo, 1).length, 1);
  });

  test('in a review thread the answer stays in the thread', async (t) => {
    const scene = await openScene(t, hub);
    scene.github.addReviewComment(scene.repo, 4, { id: 900 });
    scene.github.addReviewComment(scene.repo, 5, { id: 910 });
    scene.github.addReviewComment(scene.repo, 5, { id: 911, in_reply_to_id: 910 });
    const cases = [
      { issue: 4, comment: 900, thread: 900 },
      { issue: 5, comment: 911, inReplyTo: 910, thread: 910 },
    ];

    for (const { thread, ...fields } of cases) {
      const { id } = await scene.send('reviewComment', { text: '@patchbay is this safe?', ...fields });
      const reply = await scene.complete(await scene.message(id), 'Yes, it is.');
      const run = await scene.ended(reply.body.runs[0].id);

      assert.equal(run.action, 'create_review_reply');
      assert.equal(run.status, 'succeeded', JSON.stringify(run));
      const replies = scene.github.reviewReplies(scene.repo, fields.issue);
      assert.deepEqual(replies.map((one) => [one.in_reply_to_id, visible(one.body)]), [[thread, 'Yes, it is.']]);
      assert.deepEqual(scene.github.comments(scene.repo, fields.issue), []);
    }
  });

  test('a webhook that is set to send forms works the same', async (t) => {
    const scene = await openScene(t, hub);

    const { id } = await scene.comment('@patchbay what is 1 + 1 & 2?', {}, { form: true });
    const asked = await scene.message(id);

    assert.equal(asked.message.data.context.text, '@patchbay what is 1 + 1 & 2?');
    assert.equal(asked.message.data.event.data.comment.body, '@patchbay what is 1 + 1 & 2?');
  });

  test('a new issue that mentions the agent, and the agent\'s label, ask it too', async (t) => {
    const scene = await openScene(t, hub);
    const cases = [
      ['issueOpened', { issue: 1, text: 'It crashes. @patchbay?' }],
      ['issueLabeled', { issue: 2, label: 'patchbay' }],
    ];

    for (const [what, fields] of cases) {
      const asked = await scene.message((await scene.send(what, fields)).id);
      assert.equal(asked.message.type, 'conversation.started');
      await scene.ended((await scene.complete(asked, 'On it.')).body.runs[0].id);
      assert.equal(scene.github.comments(scene.repo, fields.issue).length, 1);
    }
  });

  test('later comments on the issue join the conversation, mention or not', async (t) => {
    const scene = await openScene(t, hub);
    const first = await scene.ask('@patchbay why?', { issue: 2 });

    const second = await scene.message((await scene.comment('And on Windows?', { issue: 2 })).id);
    const elsewhere = await scene.ask('@patchbay and here?', { issue: 3 });

    assert.equal(second.message.type, 'conversation.message');
    assert.equal(second.message.data.conversation_id, first.message.data.conversation_id);
    assert.equal(second.message.data.context.text, 'And on Windows?');
    assert.equal(elsewhere.message.type, 'conversation.started');
    assert.notEqual(elsewhere.message.data.conversation_id, first.message.data.conversation_id);
  });

  test('a comment after the answer reopens the conversation, with a token that works', async (t) => {
    const scene = await openScene(t, hub);
    await scene.ended((await scene.complete(await scene.ask(), 'Fixed.')).body.runs[0].id);

    const again = await scene.message((await scene.comment('It still crashes.')).id);
    const reply = await scene.complete(again, 'Fixed again.');

    assert.equal(reply.status, 202);
    await scene.ended(reply.body.runs[0].id);
    assert.deepEqual(scene.github.comments(scene.repo, 1).map(({ body }) => visible(body)), ['Fixed.', 'Fixed again.']);
  });

  test('it is acknowledged at once, by one reaction', async (t) => {
    const scene = await openScene(t, hub);
    const event = await scene.comment('@patchbay look');
    const { message } = await scene.message(event.id);
    const label = await scene.send('issueLabeled', { issue: 2, label: 'patchbay' });
    await scene.message(label.id);

    const comment = message.data.context.comment;
    await until('the reactions', () => scene.github.reactions(scene.repo, 'issue', 2).length > 0);
    assert.deepEqual(scene.github.reactions(scene.repo, 'comment', comment), ['eyes']);
    assert.deepEqual(scene.github.reactions(scene.repo, 'issue', 2), ['eyes']);
  });

  test('progress is one comment that is changed, the result a comment of its own', async (t) => {
    const scene = await openScene(t, hub);
    const asked = await scene.ask();

    let last;
    for (const [status, message] of [['progress', 'Looking.'], ['progress', 'Still looking.'], ['completed', 'Found it.']]) {
      const reply = await scene.answer(asked, { status, message });
      assert.equal(reply.status, 202, JSON.stringify(reply.body));
      last = reply.body.runs.at(-1).id;
    }
    await scene.ended(last);

    assert.deepEqual(scene.github.comments(scene.repo, 1).map(({ body }) => visible(body)), ['Still looking.', 'Found it.']);
  });

  test('the thread so far comes along', async (t) => {
    const scene = await openScene(t, hub);
    await scene.ended((await scene.complete(await scene.ask('@patchbay why?', { issue: 2 }), 'It divides by zero.')).body.runs[0].id);

    const again = await scene.message((await scene.comment('See https://example.com/trace.', { issue: 2 })).id);

    const { thread, context } = again.message.data;
    assert.deepEqual(thread.map(({ user, text }) => [user, visible(text)]), [['patchbay-test[bot]', 'It divides by zero.']]);
    assert.match(thread[0].at, /^\d{4}-/);
    assert.deepEqual(context.links, ['https://example.com/trace']);
  });

  test('nobody is asked by comments that do not concern the agent, or by whom it must not obey', async (t) => {
    const scene = await openScene(t, hub);
    const cases = [
      ['no mention', 'issueComment', { text: 'Thank you!' }],
      ['another name that begins alike', 'issueComment', { text: 'ask @patchbay-fans or @patchbays' }],
      ['a mail address', 'issueComment', { text: 'write to ops@patchbay.example' }],
      ['another label', 'issueLabeled', { label: 'bug' }],
      ['a bot', 'issueComment', { text: '@patchbay look', user: BOT }],
      ['the hub itself', 'issueComment', { text: '@patchbay look', user: { login: 'patchbay-test[bot]', type: 'Bot' }, app: APP_ID }],
      ['the hub in the name of a user', 'issueComment', { text: '@patchbay look', app: APP_ID }],
      ['somebody who may only read', 'issueComment', { text: '@patchbay look', user: 'mallory' }],
      ['a stranger', 'issueComment', { text: '@patchbay look', user: 'nobody' }],
      ['an issue by a stranger', 'issueOpened', { text: '@patchbay look', user: 'nobody' }],
    ];

    await Promise.all(cases.map(async ([name, what, fields]) => {
      const { deliveries, decision } = await scene.settled((await scene.send(what, fields)).id);
      assert.deepEqual(deliveries.filter(({ status }) => status !== 'skipped'), [], name);
      assert.ok(decision, `${name}: nothing says why nobody was asked`);
    }));
    assert.deepEqual(scene.agent.requests, []);
  });

  test('the sender\'s permission is asked for before anything leaves the hub', async (t) => {
    const scene = await openScene(t, hub);
    let release;
    scene.github.fail({ path: /\/permission$/, hold: new Promise((resolve) => { release = resolve; }) });

    const { id } = await scene.comment('@patchbay look');
    while (scene.github.requestsTo('GET', /\/collaborators\/alice\/permission$/).length === 0) await new Promise(setImmediate);
    assert.deepEqual(scene.agent.deliveries, []);
    release();

    assert.ok(await scene.message(id));
  });

  for (const [name, text] of Object.entries(texts)) {
    test(`${name} in the answer is posted as written`, async (t) => {
      const scene = await openScene(t, hub);

      await scene.ended((await scene.complete(await scene.ask(), text)).body.runs[0].id);

      const [comment] = scene.github.comments(scene.repo, 1);
      assert.ok(comment.body.startsWith(text), comment.body);
    });
  }

  test('an answer longer than GitHub takes comes in two comments, and nothing is lost', async (t) => {
    const scene = await openScene(t, hub);

    const { body } = await scene.complete(await scene.ask(), `Begin ${'ü'.repeat(80_000)}`);
    const run = await scene.ended(body.runs.at(-1).id);

    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    const comments = scene.github.comments(scene.repo, 1).map((one) => visible(one.body));
    assert.equal(comments.length, 2);
    assert.ok(comments[0].startsWith('Begin ü'));
    assert.equal(comments.join('').match(/ü/g).length, 80_000);
  });

  test('a token that was revoked is replaced', async (t) => {
    const scene = await openScene(t, hub);
    const asked = await scene.ask();
    scene.github.revokeTokens();

    const run = await scene.ended((await scene.complete(asked, 'Done.')).body.runs[0].id);

    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    assert.equal(scene.github.comments(scene.repo, 1).length, 1);
  });

  test('an answer that GitHub refuses ends as a failed run that says why', async (t) => {
    const scene = await openScene(t, hub);
    scene.github.fail({ method: 'POST', path: /\/comments$/, answer: { status: 403, body: { message: 'Resource not accessible by integration' } } });

    const run = await scene.ended((await scene.complete(await scene.ask(), 'Done.')).body.runs[0].id);

    assert.equal(run.status, 'failed');
    assert.match(JSON.stringify(run.error), /403|not accessible/);
    assert.equal(scene.github.requestsTo('POST', /\/comments$/).length, 1);
  });
});
