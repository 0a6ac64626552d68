// Deliveries as GitHub sends them, of exact sizes. The contents repeat, the ids do not.
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

export const SECRET = randomBytes(24).toString('hex');
export const TOKEN = randomBytes(24).toString('base64url');
export const ROUTE = '/api/integration/github/events';

const sign = (body) => `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`;

/** Words that follow each other without a pattern, the same in each run: text that packs as what people write does. */
const WORDS = ('the of to and in is for that it on with as this not when are be error request after server by from at fails timeout '
  + 'webhook payload retry event queue was build test branch release version config database migration token which only').split(' ');
function writer() {
  let state = 1;
  const next = (most) => { state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0; return (state >>> 8) % most; };
  const text = (length) => {
    let made = '';
    while (made.length < length) made += `${WORDS[next(WORDS.length)]} `;
    return made.slice(0, length);
  };
  return { next, text };
}

/** The issue under another number, by another person, about something else. */
function another(issue, { next, text }) {
  const login = `user-${next(1e6)}`;
  const numbered = JSON.stringify(issue).replaceAll(`/issues/${issue.number}`, `/issues/${next(1e5)}`).replaceAll(issue.user.login, login);
  const made = { ...JSON.parse(numbered), id: next(2 ** 31), number: next(1e5), title: text(60), body: text(400 + next(800)) };
  made.created_at = new Date(1.7e12 + next(1e9) * 60).toISOString();
  return made;
}

/** The published example of a comment; in small only what a hub reads of it, in large with other issues beside. */
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
  const by = writer();
  const size = () => Buffer.byteLength(JSON.stringify(made));
  const related = [];
  for (let room = bytes - size() - 200; ;) {
    const next = another(issue, by);
    room -= JSON.stringify(next).length + 1;
    if (room < 0) break;
    related.push(next);
  }
  if (related.length > 0) made.related = related;
  const missing = bytes - size();
  if (missing < 0) throw new Error(`the smallest payload has ${bytes - missing} bytes, not ${bytes}`);
  made.comment.body = by.text(missing);
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
