// Slack around the hub: a fake workspace with a channel, a connection to it, and an agent. The payloads have the shape of
// https://docs.slack.dev/reference/events and /interactivity, with every member that Slack sends and the hub reads.
import { createHmac, randomBytes } from 'node:crypto';
import { BOT, startFakeSlack } from './fake-slack.mjs';
import { send } from './client.mjs';
import { openTalk } from './talk.mjs';

export const TEAM = 'T061EG9R6';
export const CHANNEL = 'C0LAN2Q65';
export const DIRECT = 'D0LAN2Q65';

/** `U0ALICE` and `U0BOB` are members, `U0GUEST` is a guest, `U0OTHER` of another organisation. Closes with the test `t`. */
export async function openSlack(t, hub, { config = {}, destination = {}, slack: options = {} } = {}) {
  const secret = randomBytes(16).toString('hex');
  const token = `xoxb-test-${randomBytes(12).toString('hex')}`;
  const slack = await startFakeSlack({ token, ...options });
  for (const id of ['U0ALICE', 'U0BOB']) slack.addUser(id);
  slack.addUser('U0GUEST', { is_restricted: true });
  slack.addUser('U0OTHER', { is_stranger: true });
  slack.addChannel(CHANNEL);
  slack.addChannel(DIRECT);
  const talk = await openTalk(t, hub, {
    service: 'slack', double: slack, config: { bot_token: token, webhook_secret: secret, base_url: slack.url, ...config }, destination,
  });

  const scene = Object.assign(talk, {
    slack, token,

    /** Sends signed bytes as Slack does; gives the reply. */
    async deliver(body, type, headers = []) {
      const time = String(Math.floor(Date.now() / 1000));
      const mac = createHmac('sha256', secret).update(`v0:${time}:${body}`).digest('hex');
      return send(scene.path, { headers: [['content-type', type], ['x-slack-request-timestamp', time], ['x-slack-signature', `v0=${mac}`], ...headers], body });
    },
    /** An event of the Events API. */
    event: (event, { id = `Ev${randomBytes(5).toString('hex').toUpperCase()}`, headers } = {}) => scene.deliver(JSON.stringify({
      token: 'test-token', team_id: TEAM, api_app_id: 'A0TEST', event, type: 'event_callback', event_id: id, event_time: Math.floor(Number(event.event_ts ?? event.ts)),
      authorizations: [{ enterprise_id: null, team_id: TEAM, user_id: BOT.user, is_bot: true, is_enterprise_install: false }],
      is_ext_shared_channel: false,
    }), 'application/json', headers),
    form: (fields) => scene.deliver(new URLSearchParams(fields).toString(), 'application/x-www-form-urlencoded'),
    interaction: (payload) => scene.form({ payload: JSON.stringify({ team: { id: TEAM, domain: 'test' }, api_app_id: 'A0TEST', token: 'test-token', ...payload }) }),

    /** Somebody mentions the app in the channel: as Slack does, that is two events. Gives the message's `ts`. */
    async mention(text, { user = 'U0ALICE', thread_ts } = {}) {
      const ts = slack.say(CHANNEL, user, text, thread_ts);
      const message = { client_msg_id: `m-${ts}`, user, text, ts, team: TEAM, channel: CHANNEL, event_ts: ts, ...(thread_ts && { thread_ts }) };
      for (const event of [{ type: 'app_mention', ...message }, { type: 'message', channel_type: 'channel', ...message }]) ok(await scene.event(event));
      return ts;
    },
    /** Somebody writes something else, in the channel or to the app itself. */
    async write(text, { user = 'U0ALICE', thread_ts, channel = CHANNEL, ...more } = {}) {
      const ts = slack.say(channel, user, text, thread_ts);
      ok(await scene.event({ type: 'message', channel_type: channel === DIRECT ? 'im' : 'channel', user, text, ts, channel, event_ts: ts, team: TEAM, ...(thread_ts && { thread_ts }), ...more }));
      return ts;
    },
  });
  return scene;
}

function ok(reply) {
  if (reply.status !== 200 || reply.bytes.length > 0 && !reply.body.id) throw new Error(`the hub answered ${reply.status}: ${reply.bytes}`);
}
