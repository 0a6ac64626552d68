// Deliveries as GitHub sends them, of exact sizes. The contents repeat, the ids do not.
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

export const SECRET = randomBytes(24).toString('hex');
export const TOKEN = randomBytes(24).toString('base64url');
export const ROUTE = '/api/integration/github/events';

const sign = (body) => `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`;

/** The published example of a comment; in small only what a hub reads of it, in large with copies of its issue beside. */
export function payload(bytes) {
  const definitions = createRequire(import.meta.url)('@octokit/webhooks-examples');
  const full = definitions.find(({ name }) => name === 'issue_comment').examples.find(({ action }) => action === 'created');
  const { repository, issue, comment, sender } = full;
  const small = {
    action: 'created',
    issue: { number: issue.number, title: issue.title },
    comment: { id: comment.id, html_url: comment.html_url, user: { login: comment.user.login }, body: '' },
    repository: { full_name: repository.full_name },
    sender: { login: sender.login, type: sender.type },
  };
  const made = bytes < 4_096 ? small : structuredClone(full);
  Object.assign(made.issue, { body: '', milestone: null });
  made.comment.body = '';
  const size = () => Buffer.byteLength(JSON.stringify(made));
  const copy = JSON.stringify(issue).length + 1;
  const room = bytes - size() - 200;
  if (room > copy) made.related = Array.from({ length: Math.floor(room / copy) }, () => issue);
  const missing = bytes - size();
  if (missing < 0) throw new Error(`the smallest payload has ${bytes - missing} bytes, not ${bytes}`);
  made.comment.body = 'It fails on start. '.repeat(Math.ceil(missing / 19)).slice(0, missing);
  return Buffer.from(JSON.stringify(made));
}

/** Requests for `body`: each call of what it gives is one delivery. `signature` replaces the right one, null leaves it out. */
export function deliveries(body, { signature = sign(body), id = randomUUID } = {}) {
  const headers = {
    accept: '*/*',
    'content-type': 'application/json',
    'user-agent': 'GitHub-Hookshot/0b1c2d3',
    'x-github-event': 'issue_comment',
    'x-github-hook-id': '292430182',
    'x-github-hook-installation-target-id': '79929171',
    'x-github-hook-installation-target-type': 'repository',
    ...(signature && { 'x-hub-signature-256': signature }),
  };
  return () => ({ method: 'POST', path: ROUTE, headers: { ...headers, 'x-github-delivery': id() }, body });
}

/** Well formed, and of another text. */
export const WRONG = sign('something else');
