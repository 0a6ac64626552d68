// Jira around the hub: a fake site, a connection to it, and an agent. The payloads have the members of
// https://developer.atlassian.com/cloud/jira/platform/webhooks/ that a real delivery has and the hub reads.
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { openTalk } from './talk.mjs';
import { startFakeJira } from './fake-jira.mjs';
import { send } from './client.mjs';

export const ISSUE = 'DEMO-42';

/** `ada` and `bob` are of the team, `eve` is not. `server`: a Data Center, where people go by their names; `personal`: the
 *  token is a personal access token. Closes with the test `t`. */
export async function openJira(t, hub, { config = {}, destination = {}, server = false, personal = false } = {}) {
  const token = `test-${randomBytes(8).toString('hex')}`;
  const secret = randomBytes(16).toString('hex');
  const id = (name) => (server ? name : `5b1:${name}`);
  const jira = await startFakeJira({ email: 'agent@example.com', token, user: id('bot'), server, personal });
  for (const name of ['ada', 'bob', 'bot']) jira.addMember(id(name));
  jira.addIssue(ISSUE);
  const talk = await openTalk(t, hub, {
    service: 'jira', double: jira, destination,
    config: { base_url: jira.url, ...(!personal && { email: 'agent@example.com' }), api_token: token, user_id: id('bot'), webhook_secret: secret, ...(server && { deployment: 'data_center' }), ...config },
  });

  /** Sends a signed payload as Jira does; or with a token in its header. */
  const deliver = (payload, { delivery = randomUUID(), authorization, query = '' } = {}) => {
    const body = JSON.stringify({ timestamp: Date.now(), ...payload });
    const proof = authorization ? ['authorization', authorization] : ['x-hub-signature', `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`];
    return send(`${talk.path}${query}`, { headers: [['content-type', 'application/json; charset=UTF-8'], ['x-atlassian-webhook-identifier', delivery], proof], body });
  };
  const must = async (...delivery) => {
    const reply = await deliver(...delivery);
    if (reply.status !== 202) throw new Error(`the hub answered ${reply.status}: ${reply.bytes}`);
    return reply.body.id;
  };
  const self = `${jira.url}/rest/api/2`;
  const person = (name, more = {}) => ({ self: `${self}/user`, ...(server ? { name, key: name } : { accountId: id(name), accountType: 'atlassian' }), displayName: name, active: true, ...more });
  const issue = (fields = {}) => ({ id: jira.issue(ISSUE).id, self: `${self}/issue/${jira.issue(ISSUE).id}`, key: ISSUE, fields: { ...jira.issue(ISSUE).fields, description: 'It burns.', project: { id: '10001', key: 'DEMO', name: 'Demo', projectTypeKey: 'software' }, ...fields } });

  return Object.assign(talk, {
    jira, deliver, must, token, id, secret, person, issue,
    /** Somebody comments; gives the comment's id. */
    async comment(text, { by = 'ada', author = {}, event = 'comment_created', delivery, ...more } = {}) {
      const made = jira.say(ISSUE, id(by), text);
      const who = person(by, author);
      await must({ webhookEvent: event, comment: { self: `${self}/comment/${made}`, id: made, author: who, updateAuthor: who, body: text, created: '2026-01-31T11:59:58.000+0000', updated: '2026-01-31T11:59:58.000+0000', jsdPublic: true, ...more }, issue: issue(), eventType: 'primaryAction' }, { delivery });
      return made;
    },
    /** An issue is opened or changed: `items` is the changelog. */
    change: (items, { by = 'ada', fields, event = 'jira:issue_updated' } = {}) => must({ webhookEvent: event, issue_event_type_name: event === 'jira:issue_created' ? 'issue_created' : 'issue_updated', user: person(by), issue: issue(fields), ...(items && { changelog: { id: '1', items } }) }),
  });
}
