// Somebody asks for the agent in Slack, and is answered there.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { CHANNEL, DIRECT, openSlack, TEAM } from '../support/slack-scene.mjs';
import { BOT } from '../support/fake-slack.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());

const MENTION = `<@${BOT.user}>`;
const texts = (scene, channel = CHANNEL) => scene.slack.written(channel).map(({ text }) => text);

suite('a message in Slack is answered', { concurrency: true }, () => {
  test('a mention in a channel: heard at once, progress as one message, the result in the thread', async (t) => {
    const scene = await openSlack(t, hub);
    const ts = await scene.mention(`${MENTION} why is &lt;main&gt; *red*? See <https://ci.example.com/1|the build>`);
    const letter = await scene.letter();

    const { context, callback, event } = letter.message.data;
    assert.equal(letter.message.type, 'conversation.started');
    assert.partialDeepStrictEqual(context, {
      channel: CHANNEL, thread: ts, ts, user: 'U0ALICE', team: TEAM,
      text: `${MENTION} why is <main> **red**? See [the build](https://ci.example.com/1)`,
      links: ['https://ci.example.com/1'],
    });
    assert.ok(callback.token && event.type === 'slack.app_mention');
    await scene.say(letter, 'progress', 'Looking.');
    await scene.say(letter, 'progress', 'Still **looking**.');
    const run = await scene.say(letter, 'completed', 'It is [fixed](https://example.com/?a=1&b=2), <!channel>.');

    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    assert.deepEqual(texts(scene), ['Still *looking*.', 'It is <https://example.com/?a=1&amp;b=2|fixed>, &lt;!channel&gt;.']);
    assert.ok(scene.slack.written(CHANNEL).every((one) => one.thread_ts === ts));
    assert.deepEqual(scene.slack.reactions(CHANNEL, ts), ['eyes']);
    assert.deepEqual(scene.slack.writes(), ['reactions.add', 'chat.postMessage', 'chat.update', 'chat.postMessage']);
    await scene.settled();
    assert.equal(scene.agent.deliveries.length, 1, 'the message event of the same post asks nobody again');
  });

  test('the thread so far comes along, and follow-ups of who asked, but not those of others', async (t) => {
    const scene = await openSlack(t, hub);
    const first = await scene.write('The build is red.', { user: 'U0BOB' });
    await scene.mention(`${MENTION} look`, { thread_ts: first });
    const asked = await scene.letter();
    await scene.write('Yes, please', { user: 'U0BOB', thread_ts: first });
    await scene.write('It began today', { thread_ts: first });
    const followed = await scene.letter(1);
    await scene.settled();

    const { thread } = asked.message.data;
    assert.deepEqual(thread.map(({ user, text }) => [user, text]), [['U0BOB', 'The build is red.']]);
    assert.match(thread[0].at, /^\d{4}-\d\d-\d\dT/);
    assert.equal(followed.message.type, 'conversation.message');
    assert.equal(followed.message.data.context.text, 'It began today');
    assert.equal(followed.message.data.conversation_id, asked.message.data.conversation_id);
    assert.equal(scene.agent.deliveries.length, 2);
  });

  test('a direct message needs no mention, and is answered where it was written', async (t) => {
    const scene = await openSlack(t, hub);
    const ts = await scene.write('hello', { channel: DIRECT });

    const letter = await scene.letter();
    await scene.say(letter, 'completed', 'Hello.');
    await scene.write('and now?', { channel: DIRECT });
    const second = await scene.letter(1);

    assert.deepEqual(texts(scene, DIRECT), ['Hello.']);
    assert.equal(scene.slack.written(DIRECT)[0].thread_ts, undefined);
    await until('the reaction', () => scene.slack.reactions(DIRECT, ts).length > 0);
    assert.deepEqual(scene.slack.reactions(DIRECT, ts), ['eyes']);
    assert.equal(second.message.data.conversation_id, letter.message.data.conversation_id);
    assert.deepEqual(second.message.data.thread.map(({ text }) => text), ['hello', 'Hello.']);
  });

  test('a command is answered at once where it was sent, and in the end in a direct message', async (t) => {
    const scene = await openSlack(t, hub);
    const response_url = scene.slack.responseUrl('r-1');
    const reply = await scene.form({
      token: 'test-token', team_id: TEAM, channel_id: CHANNEL, channel_name: 'general', user_id: 'U0ALICE', user_name: 'alice',
      command: '/patchbay', text: 'fix the build', api_app_id: 'A0TEST', trigger_id: scene.slack.trigger('13.7.cmd'), response_url,
    });
    assert.equal(reply.status, 200);

    const letter = await scene.letter();
    await scene.say(letter, 'completed', 'Fixed.');

    assert.equal(letter.message.data.context.text, 'fix the build');
    assert.match((await until('the answer', () => scene.slack.responses('r-1')[0])).text, /direct message/);
    assert.deepEqual(texts(scene, 'D0ALICE'), ['Fixed.']);
  });

  test('a button in the agent\'s message joins the conversation, opens a dialog, and so does what is submitted', async (t) => {
    const scene = await openSlack(t, hub, { destination: { allowed_actions: ['post_message', 'open_modal'] } });
    const ts = await scene.mention(`${MENTION} deploy`);
    const asked = await scene.letter();
    const blocks = [{ type: 'actions', elements: [{ type: 'button', action_id: 'go', text: { type: 'plain_text', text: 'Go' }, value: 'go' }] }];
    await scene.say(asked, 'progress', undefined, [{ action: 'post_message', inputs: { channel: CHANNEL, thread_ts: ts, text: 'Deploy?', blocks } }]);
    const [message] = scene.slack.written(CHANNEL);
    const trigger_id = scene.slack.trigger('13.7.button');
    const pressed = await scene.interaction({
      type: 'block_actions', user: { id: 'U0ALICE' }, trigger_id, channel: { id: CHANNEL, name: 'general' },
      container: { type: 'message', message_ts: message.ts, channel_id: CHANNEL, thread_ts: ts }, message: { ...message },
      response_url: scene.slack.responseUrl('r-2'), actions: [{ action_id: 'go', type: 'button', value: 'go', action_ts: message.ts }],
    });
    assert.equal(pressed.status, 200);
    const button = await scene.letter(1);
    assert.partialDeepStrictEqual(button.message.data.context, { text: 'go', trigger: trigger_id, channel: CHANNEL, thread: ts });
    const view = { type: 'modal', title: { type: 'plain_text', text: 'Deploy' }, blocks: [{ type: 'input', block_id: 'env' }] };
    const opened = await scene.say(button, 'progress', undefined, [{ action: 'open_modal', inputs: { channel: CHANNEL, thread_ts: ts, trigger_id, view } }]);
    assert.equal(opened.status, 'succeeded', JSON.stringify(opened));
    const [shown] = scene.slack.views;
    const values = { env: { name: { type: 'plain_text_input', value: 'production' } } };
    const submitted = await scene.interaction({ type: 'view_submission', user: { id: 'U0ALICE' }, trigger_id: '13.7.view', view: { ...shown, state: { values } } });
    assert.equal(submitted.status, 200);

    const last = await scene.letter(2);
    assert.equal(last.message.data.conversation_id, asked.message.data.conversation_id);
    assert.deepEqual(last.message.data.context.values, values);
    await scene.say(last, 'completed', 'Deployed.');
    assert.equal(texts(scene).at(-1), 'Deployed.');
    assert.equal(scene.slack.written(CHANNEL).at(-1).thread_ts, ts);
  });

  test('a task is an item of a List; where the plan has none, it is said in the thread', async (t) => {
    for (const paid of [true, false]) {
      const scene = await openSlack(t, hub, {
        config: { task_list: 'F0TASKS', task_column: 'Col01' }, slack: { lists: { F0TASKS: 'Col01' }, paid }, destination: { allowed_actions: ['create_task'] },
      });
      const ts = await scene.mention(`${MENTION} remember this`);
      const run = await scene.say(await scene.letter(), 'completed', undefined, [{ action: 'create_task', inputs: { channel: CHANNEL, thread_ts: ts, title: 'Fix a < b' } }]);

      assert.equal(run.status, 'succeeded', JSON.stringify(run));
      assert.equal(scene.slack.items.length, paid ? 1 : 0);
      assert.deepEqual(texts(scene), paid ? [] : ['☐ Fix a &lt; b']);
    }
  });

  test('what Slack sends again is one event', async (t) => {
    const scene = await openSlack(t, hub);
    const ts = scene.slack.say(CHANNEL, 'U0ALICE', `${MENTION} look`);
    const event = { type: 'app_mention', user: 'U0ALICE', text: `${MENTION} look`, ts, channel: CHANNEL, event_ts: ts };
    for (const n of [0, 1, 2, 3]) {
      const headers = n ? [['x-slack-retry-num', String(n)], ['x-slack-retry-reason', 'http_timeout']] : [];
      assert.equal((await scene.event(event, { id: 'Ev0SAME', headers })).status, 200);
    }

    await scene.letter();
    assert.equal((await scene.settled()).length, 1);
    await hub.tick();
    assert.equal(scene.agent.deliveries.length, 1);
    await until('the reaction', () => scene.slack.reactions(CHANNEL, ts).length > 0);
    assert.deepEqual(scene.slack.reactions(CHANNEL, ts), ['eyes']);
  });

  test('nobody is asked by bots, by the app itself, by guests and strangers, or where the mention is only shown', async (t) => {
    const scene = await openSlack(t, hub);
    const base = { channel: CHANNEL, event_ts: '1769860001.000100', ts: '1769860001.000100' };
    const text = `${MENTION} look`;
    const events = [
      { type: 'app_mention', user: 'U0ALICE', text, bot_id: 'B0OTHER', ...base },
      { type: 'app_mention', user: BOT.user, text, ...base },
      { type: 'app_mention', user: 'U0GUEST', text, ...base },
      { type: 'app_mention', user: 'U0OTHER', text, ...base },
      { type: 'app_mention', user: 'U0ALICE', text: `&gt; ${text}`, ...base },
      { type: 'app_mention', user: 'U0ALICE', text: `\`${text}\``, ...base },
      { type: 'app_mention', user: 'U0ALICE', text: `see \`\`\`${text}\`\`\``, ...base },
      { type: 'message', channel_type: 'im', user: 'U0ALICE', text: 'joined', subtype: 'channel_join', ...base },
      { type: 'message', channel_type: 'im', subtype: 'bot_message', bot_id: 'B0OTHER', text, ...base },
      { type: 'message', channel_type: 'channel', user: 'U0ALICE', text: 'thanks', ...base },
    ];
    for (const event of events) assert.equal((await scene.event(event)).status, 200);

    const seen = await scene.settled();
    assert.equal(seen.length, events.length);
    assert.deepEqual(scene.agent.deliveries, []);
    assert.deepEqual(scene.slack.writes(), []);
  });

  test('an edit that brings the mention in asks; one that changes a text that had it does not', async (t) => {
    const scene = await openSlack(t, hub);
    const ts = await scene.write('please look');
    const edit = (before, after) => scene.event({
      type: 'message', subtype: 'message_changed', channel: CHANNEL, channel_type: 'channel', ts: '1769869999.000100', event_ts: '1769869999.000100', hidden: true,
      message: { type: 'message', user: 'U0ALICE', text: after, ts, edited: { user: 'U0ALICE', ts } }, previous_message: { type: 'message', user: 'U0ALICE', text: before, ts },
    });
    await edit('please look', `${MENTION} please look`);
    const letter = await scene.letter();
    await edit(`${MENTION} please look`, `${MENTION} please look now`);
    await scene.settled();

    assert.equal(letter.message.data.context.thread, ts);
    assert.equal(scene.agent.deliveries.length, 1);
  });

  test('a message whose reply was lost is found by its run, and not written twice', async (t) => {
    const scene = await openSlack(t, hub);
    await scene.mention(`${MENTION} look`);
    const letter = await scene.letter();
    scene.slack.fail({ path: /chat\.postMessage$/, act: true, drop: true });

    const run = await scene.say(letter, 'completed', 'Done.');

    assert.equal(run.status, 'succeeded', JSON.stringify(run));
    assert.deepEqual(texts(scene), ['Done.']);
  });

  test('a limit is waited for, and a token that was revoked is an end with its cause', async (t) => {
    const scene = await openSlack(t, hub);
    await scene.mention(`${MENTION} look`);
    const letter = await scene.letter();
    scene.slack.fail({ path: /chat\.postMessage$/, answer: { status: 429, headers: { 'retry-after': '1' }, body: { ok: false, error: 'ratelimited' } } });
    const limited = await scene.say(letter, 'progress', 'Looking.');
    scene.slack.fail({ path: /chat\.postMessage$/, answer: { status: 200, body: { ok: false, error: 'token_revoked' } } });
    const revoked = await scene.say(letter, 'completed', 'Done.');

    assert.equal(limited.status, 'succeeded', JSON.stringify(limited));
    assert.equal(revoked.status, 'failed');
    assert.equal(revoked.error.code, 'REAUTH_REQUIRED');
    assert.match(revoked.error.detail, /token_revoked/);
  });

  test('an answer of 50,000 characters comes in parts, in order', async (t) => {
    const scene = await openSlack(t, hub);
    await scene.mention(`${MENTION} tell me all`);

    const text = Array.from({ length: 500 }, (_, n) => `${n} ${'x'.repeat(95)}`).join('\n\n');
    await scene.say(await scene.letter(), 'completed', text);

    const parts = texts(scene);
    assert.ok(parts.length > 5 && parts.every((part) => part.length <= 40_000));
    assert.deepEqual(parts.join('\n').match(/^\d+/gm).map(Number), Array.from({ length: 500 }, (_, n) => n));
  });

  test('the bot token is neither shown nor given to the agent', async (t) => {
    const scene = await openSlack(t, hub);
    await scene.mention(`${MENTION} look`);
    const letter = await scene.letter();
    await scene.say(letter, 'completed', 'Done.');

    const shown = await hub.ok('GET', `/api/v1/connections/${scene.connection.id}`);
    for (const text of [JSON.stringify(letter.message), JSON.stringify(shown), hub.logs().join('\n')]) assert.ok(!text.includes(scene.token));
  });
});
