// GitHub's webhooks as GitHub sends them: the payloads are the published examples with a few fields
// changed, and each is signed.
import { createHmac, randomUUID } from 'node:crypto';
// The package's main file is this JSON: a list of {name, actions, description, examples}.
import definitions from '@octokit/webhooks-examples' with { type: 'json' };
import { sign } from '@octokit/webhooks-methods';
import { send } from './client.mjs';

/** Every example: `{event, payload}`. */
export const examples = definitions.flatMap(({ name, examples }) => examples.map((payload) => ({ event: name, payload })));

/** A copy of the first example of an event and action, on another repository. */
function example(event, action, repo) {
  const found = examples.find((one) => one.event === event && one.payload.action === action);
  const payload = JSON.parse(JSON.stringify(found.payload).replaceAll('Codertocat/Hello-World', repo));
  const [owner, name] = repo.split('/');
  Object.assign(payload.repository, { name });
  payload.repository.owner.login = owner;
  return payload;
}

let lastCommentId = 3_000_000_000;

/**
 * Each gives `[event, payload]`. `user` is a login or `{login, type}`; `app` the id of the App that wrote the comment;
 * `extra` are members that the payload has besides its own.
 */
export const payloads = {
  issueComment({ text, app, ...rest }, action = 'created') {
    const payload = example('issue_comment', action, rest.repo);
    setIssue(payload.issue, rest);
    Object.assign(payload.comment, { id: (lastCommentId += 1), body: text, user: userOf(rest) });
    payload.comment.html_url = `${payload.issue.html_url}#issuecomment-${lastCommentId}`;
    payload.comment.performed_via_github_app = app ? { id: Number(app), slug: 'patchbay-test' } : null;
    return ['issue_comment', from(payload, rest)];
  },
  reviewComment({ text, comment, inReplyTo, ...rest }) {
    const payload = example('pull_request_review_comment', 'created', rest.repo);
    setIssue(payload.pull_request, rest);
    Object.assign(payload.comment, { id: comment, body: text, user: userOf(rest) });
    if (inReplyTo) payload.comment.in_reply_to_id = inReplyTo;
    return ['pull_request_review_comment', from(payload, rest)];
  },
  issueOpened({ text, ...rest }) {
    const payload = example('issues', 'opened', rest.repo);
    setIssue(payload.issue, rest);
    Object.assign(payload.issue, { body: text, user: userOf(rest) });
    return ['issues', from(payload, rest)];
  },
  issueLabeled({ label, ...rest }) {
    const payload = example('issues', 'labeled', rest.repo);
    setIssue(payload.issue, rest);
    payload.label.name = label;
    payload.issue.labels = [payload.label];
    return ['issues', from(payload, rest)];
  },
};

function setIssue(issue, { repo, issue: number, title = 'Crash on start' }) {
  const kind = issue.html_url.includes('/pull/') ? 'pull' : 'issues';
  Object.assign(issue, { number, title, html_url: `https://github.com/${repo}/${kind}/${number}` });
}

function from(payload, rest) {
  const { installation, extra } = rest;
  Object.assign(payload.sender, userOf(rest));
  return { ...payload, ...(installation && { installation: { id: installation, node_id: 'MDIzOkludGVncmF0aW9u' } }), ...extra };
}

function userOf({ user }) {
  const { login, type = 'User' } = typeof user === 'string' ? { login: user } : user;
  return { login, id: 21_031_067, type, html_url: `https://github.com/${login}` };
}

/** The signature header's value. */
export async function signature(secret, body) {
  // The library signs neither bytes nor nothing.
  if (typeof body === 'string' && body !== '') return sign(secret, body);
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

/**
 * Sends one delivery to `url` as GitHub does. `payload` is an object, text or bytes; `form` sends it as the content
 * type that GitHub names first; `signed` replaces the signature, `headers` come in addition. Gives `{status, headers,
 * body, bytes}`.
 */
export async function deliver(url, { secret, event, payload, id = randomUUID(), form = false, signed, headers = [] }) {
  const text = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload);
  const body = form ? new URLSearchParams({ payload: text }).toString() : text;
  return send(url, {
    headers: [
      ['accept', '*/*'],
      ['content-type', form ? 'application/x-www-form-urlencoded' : 'application/json'],
      ['user-agent', 'GitHub-Hookshot/0b1c2d3'],
      ['x-github-delivery', id],
      ['x-github-event', event],
      ['x-github-hook-id', '292430182'],
      ['x-github-hook-installation-target-id', '79929171'],
      ['x-github-hook-installation-target-type', 'repository'],
      ['x-hub-signature-256', signed ?? await signature(secret, body)],
      ...headers,
    ],
    body,
  });
}
