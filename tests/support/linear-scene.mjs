// Linear around the hub: a fake workspace, a connection to it, and an agent. The payloads have the members of Linear's
// webhook schema (packages/sdk, *WebhookPayload) that a real delivery has and the hub reads.
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { openTalk } from './talk.mjs';
import { startFakeLinear } from './fake-linear.mjs';
import { send } from './client.mjs';

export const ISSUE = 'issue-1';
const ORGANIZATION = '22222222-test';
const TEAM = { id: 'team-1', key: 'DEMO', name: 'Demo' };

/** `u-alice` and `u-bob` are members, `u-guest` is a guest, `u-bot` the hub's own user. Closes with the test `t`. */
export async function openLinear(t, hub, { config = {}, destination = {} } = {}) {
  const key = `lin_api_test-${randomBytes(8).toString('hex')}`;
  const secret = randomBytes(16).toString('hex');
  const linear = await startFakeLinear({ key });
  for (const id of ['u-alice', 'u-bob', 'u-bot']) linear.addUser(id, { name: id.slice(2) });
  linear.addUser('u-guest', { guest: true });
  linear.addIssue(ISSUE, { description: 'It burns.' });
  const talk = await openTalk(t, hub, { service: 'linear', double: linear, config: { api_key: key, user_id: 'u-bot', webhook_secret: secret, base_url: linear.url, ...config }, destination });

  /** Sends a signed payload as Linear does. */
  const deliver = async (payload, { delivery = randomUUID(), at = Date.now() } = {}) => {
    const body = JSON.stringify({ createdAt: new Date(at).toISOString(), organizationId: ORGANIZATION, webhookTimestamp: at, webhookId: '33333333-test', ...payload });
    const signature = createHmac('sha256', secret).update(body).digest('hex');
    return send(talk.path, { headers: [['content-type', 'application/json; charset=utf-8'], ['linear-delivery', delivery], ['linear-event', payload.type], ['linear-timestamp', String(at)], ['linear-signature', signature]], body });
  };
  const must = async (...delivery) => {
    const reply = await deliver(...delivery);
    if (reply.status !== 202) throw new Error(`the hub answered ${reply.status}: ${reply.bytes}`);
    return reply.body.id;
  };
  const person = (id) => ({ id, name: id.slice(2), email: `${id}@example.com`, url: `https://linear.app/demo/profiles/${id}` });
  const issue = () => { const { id, identifier, title, url } = linear.issue(ISSUE); return { id, identifier, title, url, teamId: TEAM.id, team: TEAM }; };
  const full = (more) => {
    const { labelIds, description, ...found } = linear.issue(ISSUE);
    const labels = { 'label-bug': 'Bug', 'label-agent': 'Patchbay' };
    return { ...issue(), number: 1, description, priority: 0, priorityLabel: found.priorityLabel, stateId: found.state.id, state: { ...found.state, type: 'unstarted', color: '#fff' }, creatorId: 'u-alice', labelIds, labels: labelIds.map((id) => ({ id, name: labels[id], color: '#f00' })), subscriberIds: [], previousIdentifiers: [], reactionData: [], ...more };
  };

  return Object.assign(talk, {
    linear, deliver, must, key, full,
    actor: (id) => ({ ...person(id), type: 'user' }),
    /** Somebody comments; gives the comment's id. */
    async comment(text, { user = 'u-alice', parentId, ...more } = {}) {
      const id = linear.say(ISSUE, user, text, parentId);
      await must({ action: 'create', type: 'Comment', actor: { ...person(user), type: 'user' }, url: `https://linear.app/demo/issue/DEMO-1#comment-${id}`, data: { id, body: text, issueId: ISSUE, issue: issue(), userId: user, user: person(user), ...(parentId && { parentId }), reactionData: [], ...more } });
      return id;
    },
    /** An issue changes: `from` is what was there before. */
    update: (from, more, user = 'u-alice') => must({ action: 'update', type: 'Issue', actor: { ...person(user), type: 'user' }, url: issue().url, data: full(more), updatedFrom: { updatedAt: '2026-01-31T11:00:00.000Z', ...from } }),
    /** An agent session begins, or somebody writes in one. */
    session: (session, { activity, comment, user = 'u-alice' } = {}) => must({
      action: activity ? 'prompted' : 'created', type: 'AgentSessionEvent', appUserId: 'u-bot', oauthClientId: 'client-test',
      agentSession: { id: session, appUserId: 'u-bot', organizationId: ORGANIZATION, status: 'pending', type: 'commentThread', creatorId: user, creator: person(user), issueId: ISSUE, issue: { ...issue(), description: 'It burns.' }, ...(comment && { commentId: comment.id, comment }), url: `https://linear.app/demo/session/${session}` },
      ...(activity && { agentActivity: { id: randomUUID(), agentSessionId: session, userId: user, user: person(user), ...activity } }),
      ...(!activity && { promptContext: '<issue identifier="DEMO-1"/>' }),
    }),
  });
}
