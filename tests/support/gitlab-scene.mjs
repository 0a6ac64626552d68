// GitLab around the hub: a fake project, a connection to it, and an agent. The payloads have the members of
// https://docs.gitlab.com/user/project/integrations/webhook_events/ that a real delivery has and the hub reads.
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { openTalk } from './talk.mjs';
import { startFakeGitLab } from './fake-gitlab.mjs';
import { send } from './client.mjs';

export const REPO = 'demo/app';
export const ISSUE = 'issues/17';
export const MERGE = 'merge_requests/18';
const USERS = { alice: 42, bob: 43, guest: 44, patchbay: 99, project_5_bot_a1: 50, stranger: 60 };

/** `alice` and `bob` are developers, `guest` is a guest, `stranger` is no member. Closes with the test `t`. */
export async function openGitLab(t, hub, { config = {}, destination = {}, signing = true } = {}) {
  const token = `glpat-test-${randomBytes(8).toString('hex')}`;
  const key = randomBytes(32);
  const secret = signing ? `whsec_${key.toString('base64')}` : `secret-token-${randomBytes(8).toString('hex')}`;
  const gitlab = await startFakeGitLab({ token });
  for (const [name, role] of [['alice', 'developer'], ['bob', 'developer'], ['guest', 'guest'], ['patchbay', 'developer'], ['project_5_bot_a1', 'developer']]) gitlab.addMember(USERS[name], name, role);
  for (const key of [ISSUE, MERGE]) gitlab.addItem(key);
  const talk = await openTalk(t, hub, { service: 'gitlab', double: gitlab, config: { access_token: token, user_id: '99', webhook_secret: secret, base: gitlab.url, ...config }, destination });

  /** Sends a payload as GitLab does: signed, or with the secret token. */
  const deliver = (payload, { delivery = randomUUID(), event = 'Note Hook', forged } = {}) => {
    const body = JSON.stringify(payload);
    const time = String(Math.floor(Date.now() / 1_000));
    const signature = createHmac('sha256', forged ?? key).update(`${delivery}.${time}.${body}`).digest('base64');
    const proof = signing ? [['webhook-id', delivery], ['webhook-timestamp', time], ['webhook-signature', `v1,${signature}`]] : [['x-gitlab-token', forged ?? secret]];
    return send(talk.path, { headers: [['content-type', 'application/json'], ['x-gitlab-event', event], ['x-gitlab-event-uuid', delivery], ['idempotency-key', delivery], ...proof], body });
  };
  const must = async (...delivery) => {
    const reply = await deliver(...delivery);
    if (reply.status !== 202) throw new Error(`the hub answered ${reply.status}: ${reply.bytes}`);
    return reply.body.id;
  };
  const user = (name) => ({ id: USERS[name], name, username: name, avatar_url: null, email: '[REDACTED]' });
  const project = { id: 5, name: 'App', web_url: `${gitlab.url}/${REPO}`, namespace: 'Demo', visibility_level: 0, path_with_namespace: REPO, default_branch: 'main' };

  return Object.assign(talk, {
    gitlab, deliver, must, token,
    /** Somebody writes a note; gives it. `on` is `ISSUE` or `MERGE`. */
    async note(text, { by = 'alice', on = ISSUE, discussion, action = 'create', delivery, event_type = 'note', ...more } = {}) {
      const made = gitlab.say(on, USERS[by], text, discussion);
      const [kind, iid] = on.split('/');
      const isMerge = kind === 'merge_requests';
      const item = { id: 92, iid: Number(iid), title: 'Printer on fire', description: 'It burns.', state: 'opened', ...(isMerge && { source_branch: 'fix', target_branch: 'main' }) };
      await must({
        object_kind: 'note', event_type, user: user(by), project_id: 5, project,
        object_attributes: { id: made.id, note: text, description: text, noteable_type: isMerge ? 'MergeRequest' : 'Issue', author_id: USERS[by], created_at: '2026-01-31 11:59:58 UTC', project_id: 5, discussion_id: made.discussion, system: false, type: discussion ? 'DiscussionNote' : null, action, url: `${gitlab.url}/${REPO}/-/${on}#note_${made.id}`, ...more },
        [isMerge ? 'merge_request' : 'issue']: item,
      }, { delivery });
      return made;
    },
    /** An issue or merge request is opened or changed. */
    item: (action, { by = 'alice', on = ISSUE, labels = [], changes = {}, description = 'It burns.', ...more } = {}) => {
      const [kind, iid] = on.split('/');
      const object_kind = kind === 'issues' ? 'issue' : 'merge_request';
      return must({
        object_kind, event_type: object_kind, user: user(by), project,
        object_attributes: { id: 92, iid: Number(iid), title: 'Printer on fire', description, state: 'opened', action, url: `${gitlab.url}/${REPO}/-/${on}`, ...(kind !== 'issues' && { source_branch: 'fix', target_branch: 'main' }), ...more },
        labels, changes,
      }, { event: kind === 'issues' ? 'Issue Hook' : 'Merge Request Hook' });
    },
  });
}
