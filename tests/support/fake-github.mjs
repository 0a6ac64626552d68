// The part of GitHub's REST API that the hub uses, as strict as the real one: it refuses what
// GitHub refuses, in GitHub's words. Shapes: https://docs.github.com/en/rest
import { complaint, GIT_ROUTES, makeGit } from './fake-github-git.mjs';
import { complaintAboutJwt, tokenBook } from './github-tokens.mjs';
import { startServer } from './server.mjs';

const MAX_BODY = 65_536;
const ROLES = { admin: 'admin', maintain: 'write', write: 'write', triage: 'read', read: 'read', none: 'none' };

const ROUTES = [
  ['POST', /^\/app\/installations\/(\d+)\/access_tokens$/, mintToken],
  ['GET', /^\/app\/hook\/deliveries$/, listDeliveries],
  ['GET', /^\/app\/hook\/deliveries\/(\d+)$/, showDelivery],
  ['GET', /^\/repos\/([^/]+\/[^/]+)\/collaborators\/([^/]+)\/permission$/, withRepository(permission)],
  ['GET', /^\/repos\/([^/]+\/[^/]+)\/issues\/(\d+)\/comments$/, withRepository(listComments('issues'))],
  ['POST', /^\/repos\/([^/]+\/[^/]+)\/issues\/(\d+)\/comments$/, withRepository(createComment)],
  ['PATCH', /^\/repos\/([^/]+\/[^/]+)\/issues\/comments\/(\d+)$/, withRepository(updateComment('issues'))],
  ['POST', /^\/repos\/([^/]+\/[^/]+)\/issues\/(\d+)\/reactions$/, withRepository(react('issue'))],
  ['POST', /^\/repos\/([^/]+\/[^/]+)\/issues\/comments\/(\d+)\/reactions$/, withRepository(react('comment'))],
  ['POST', /^\/repos\/([^/]+\/[^/]+)\/pulls\/comments\/(\d+)\/reactions$/, withRepository(react('review comment'))],
  ['GET', /^\/repos\/([^/]+\/[^/]+)\/pulls\/(\d+)\/comments$/, withRepository(listComments('pulls'))],
  ['PATCH', /^\/repos\/([^/]+\/[^/]+)\/pulls\/comments\/(\d+)$/, withRepository(updateComment('pulls'))],
  ['POST', /^\/repos\/([^/]+\/[^/]+)\/pulls\/(\d+)\/comments\/(\d+)\/replies$/, withRepository(replyToReview)],
];

/** `basePath` is where the API lives on an Enterprise Server: `/api/v3`. */
export async function startFakeGitHub({ appId, publicKey, basePath = '' }) {
  const state = { appId, publicKey, tokens: tokenBook(appId), repositories: new Map(), sent: [], lastId: 1_000_000 };
  const server = await startServer((request) => answer(state, request, basePath));
  state.url = `${server.url}${basePath}`;

  return {
    ...server,
    url: state.url,
    appId,
    tokens: state.tokens.all,
    revokeTokens: state.tokens.revoke,
    /** `permissions` maps logins to roles; `issues` are the numbers that exist, pull requests among them. */
    addRepository(name, { installation, permissions = {}, issues = [] }) {
      const numbers = issues.map((number) => [String(number), []]);
      state.repositories.set(name, { name, reactions: new Map(), git: makeGit(), installation: String(installation), permissions, issues: new Map(numbers), pulls: new Map(structuredClone(numbers)) });
    },
    addReviewComment(name, number, { id, in_reply_to_id }) {
      state.repositories.get(name).pulls.get(String(number)).push(comment(state, { id, in_reply_to_id, body: 'What is this for?' }));
    },
    /** The comments that the App wrote on an issue, or in the review threads of a pull request, oldest first. */
    comments: (name, number) => written(state.repositories.get(name).issues.get(String(number))),
    reviewReplies: (name, number) => written(state.repositories.get(name).pulls.get(String(number))),
    /** The repository itself, see fake-github-git.mjs. */
    git: (name) => state.repositories.get(name).git,
    /** The reactions on an `issue`, `comment` or `review comment`, each once. */
    reactions: (name, kind, id) => [...(state.repositories.get(name).reactions.get(`${kind} ${id}`)?.keys() ?? [])],
    /** Puts a delivery of the App's webhook into the log: `{guid, event, payload, at}`, whether it arrived or not. */
    log: (sent) => void state.sent.push({ id: (state.lastId += 1), ...sent }),
    /** The requests that reached a route whose path fits. */
    requestsTo: (method, path) => server.requests.filter((request) => request.method === method && path.test(request.path)),
  };
}

const written = (comments) => comments.filter((comment) => comment.performed_via_github_app);

async function answer(state, request, basePath) {
  if (!request.path.startsWith(`${basePath}/`)) return problem(404, 'Not Found');
  const refused = complaintAboutHeaders(request.headers);
  if (refused) return refused;
  const path = request.path.slice(basePath.length);
  const misshapen = complaintAboutBody(request, path);
  if (misshapen) return misshapen;
  for (const [method, pattern, handle] of ROUTES) {
    const match = pattern.exec(path);
    if (match && method === request.method) return handle(state, request, ...match.slice(1));
  }
  const inRepository = /^\/repos\/([^/]+\/[^/]+)(.*)$/.exec(path);
  for (const [method, pattern, handle] of inRepository ? GIT_ROUTES : []) {
    const match = pattern.exec(inRepository[2]);
    if (match && method === request.method) {
      return withRepository((_, asked, repository) => handle(repository, asked, ...match.slice(1)))(state, request, inRepository[1]);
    }
  }
  return problem(404, 'Not Found');
}

/** Whether a body is as GitHub's own description of the route says. */
function complaintAboutBody(request, path) {
  if (request.body.length === 0) return undefined;
  try {
    request.json = JSON.parse(request.body);
  } catch {
    return problem(400, 'Problems parsing JSON');
  }
  const wrong = complaint(request.method, path, request.json);
  return wrong && problem(422, wrong);
}

function complaintAboutHeaders({ 'user-agent': agent, accept = '' }) {
  // `node` is what the fetch of the test process adds for a Worker that sends none.
  if (!agent || agent === 'node') {
    return problem(403, 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header');
  }
  if (!/application\/(vnd\.github[^,]*\+)?json/.test(accept)) {
    return problem(415, `Unsupported 'Accept' header: '${accept}'. Must accept 'application/json'.`);
  }
}

async function mintToken(state, request, installation) {
  const complaint = await complaintAboutJwt(request.headers.authorization, state);
  if (complaint) return problem(401, complaint);
  if (![...state.repositories.values()].some((repository) => repository.installation === installation)) return problem(404, 'Not Found');
  const permissions = { contents: 'write', issues: 'write', metadata: 'read', pull_requests: 'write' };
  return { status: 201, body: { ...state.tokens.mint(installation), permissions, repository_selection: 'selected' } };
}

/** What the App's webhook sent, newest first; `cursor` is the number of those that came before. */
async function listDeliveries(state, request) {
  const complaint = await complaintAboutJwt(request.headers.authorization, state);
  if (complaint) return problem(401, complaint);
  const size = Number(request.query.get('per_page') ?? 30);
  if (!(size >= 1 && size <= 100)) return problem(422, 'per_page must be between 1 and 100');
  const from = Number(request.query.get('cursor') ?? 0);
  const page = state.sent.toReversed().slice(from, from + size);
  const next = `<${state.url}${request.path.slice(request.path.indexOf('/app/'))}?per_page=${size}&cursor=${from + size}>; rel="next"`;
  return { status: 200, headers: from + size < state.sent.length ? { link: next } : {}, body: page.map(brief) };
}

async function showDelivery(state, request, id) {
  const complaint = await complaintAboutJwt(request.headers.authorization, state);
  if (complaint) return problem(401, complaint);
  const sent = state.sent.find((one) => String(one.id) === id);
  if (!sent) return problem(404, 'Not Found');
  const headers = { Accept: '*/*', 'Content-Type': 'application/json', 'X-GitHub-Delivery': sent.guid, 'X-GitHub-Event': sent.event };
  return { status: 200, body: { ...brief(sent), request: { headers, payload: sent.payload }, response: { headers: {}, payload: '' } } };
}

const brief = ({ id, guid, at, event, payload }) => ({
  id, guid, delivered_at: at.toISOString(), redelivery: false, duration: 0.1, status: 'OK', status_code: 202,
  event, action: payload.action ?? null, installation_id: payload.installation?.id ?? null, repository_id: null,
});

/** Calls `handle` with the repository, if the caller's token is for the installation that it belongs to. */
function withRepository(handle) {
  return (state, request, name, ...rest) => {
    const installation = state.tokens.installationOf(request.headers.authorization);
    if (!installation) return problem(401, request.headers.authorization ? 'Bad credentials' : 'Requires authentication');
    const repository = state.repositories.get(name);
    if (repository?.installation !== installation) return problem(404, 'Not Found');
    return handle(state, request, repository, ...rest);
  };
}

function permission(state, request, repository, user) {
  const login = decodeURIComponent(user);
  const role = repository.permissions[login];
  if (!role) return problem(404, `${login} is not a user`);
  return { status: 200, body: { permission: ROLES[role], role_name: role, user: { login, type: 'User' } } };
}

function listComments(kind) {
  return (state, { query }, repository, number) => {
    const all = repository[kind].get(number);
    if (!all) return problem(404, 'Not Found');
    const since = query.has('since') ? Date.parse(query.get('since')) : 0;
    if (Number.isNaN(since)) return problem(422, 'Invalid since parameter');
    const size = Math.min(Number(query.get('per_page') ?? 30), 100);
    const skipped = size * (Number(query.get('page') ?? 1) - 1);
    const kept = all.filter((one) => Date.parse(one.updated_at) >= since);
    // Comments of one issue come oldest first, whatever is asked for; review comments can be turned round.
    if (kind === 'pulls' && query.get('direction') === 'desc') kept.reverse();
    return { status: 200, body: kept.slice(skipped, skipped + size) };
  };
}

function createComment(state, request, repository, number) {
  const comments = repository.issues.get(number);
  if (!comments) return problem(404, 'Not Found');
  return post(state, request, comments, {
    html_url: (id) => `https://github.com/${repository.name}/issues/${number}#issuecomment-${id}`,
  });
}

function replyToReview(state, request, repository, number, parent) {
  const comments = repository.pulls.get(number);
  const first = comments?.find((one) => String(one.id) === parent);
  if (!first) return problem(404, 'Not Found');
  if (first.in_reply_to_id) return problem(422, 'Validation Failed', [{ resource: 'PullRequestReviewComment', field: 'in_reply_to', code: 'invalid' }]);
  return post(state, request, comments, {
    in_reply_to_id: first.id,
    html_url: (id) => `https://github.com/${repository.name}/pull/${number}#discussion_r${id}`,
  });
}

function updateComment(kind) {
  return (state, request, repository, id) => {
    const found = [...repository[kind].values()].flat().find((one) => String(one.id) === id);
    if (!found) return problem(404, 'Not Found');
    // Another's comment can be changed by whoever may write, but not by an App that did not make it.
    if (!found.performed_via_github_app) return problem(403, 'Resource not accessible by integration');
    const { refused, input } = textOf(request);
    if (refused) return refused;
    Object.assign(found, { body: input.body });
    return { status: 200, body: found };
  };
}

const REACTIONS = ['+1', '-1', 'laugh', 'confused', 'heart', 'hooray', 'rocket', 'eyes'];

function react(kind) {
  return (state, request, repository, id) => {
    const known = kind === 'issue' ? repository.issues.has(id) : Number(id) > 0;
    if (!known) return problem(404, 'Not Found');
    let input;
    try {
      input = JSON.parse(request.body);
    } catch {
      return problem(400, 'Problems parsing JSON');
    }
    if (!REACTIONS.includes(input.content)) return problem(422, 'Validation Failed', [{ resource: 'Reaction', code: 'invalid', field: 'content' }]);
    const key = `${kind} ${id}`;
    const there = repository.reactions.get(key) ?? new Map();
    repository.reactions.set(key, there);
    const status = there.has(input.content) ? 200 : 201;
    if (status === 201) there.set(input.content, state.lastId += 1);
    return { status, body: { id: there.get(input.content), content: input.content, created_at: new Date().toISOString() } };
  };
}

function textOf(request) {
  let input;
  try {
    input = JSON.parse(request.body);
  } catch {
    return { refused: problem(400, 'Problems parsing JSON') };
  }
  return { input, refused: complaintAboutText(input?.body) };
}

function post(state, request, comments, fields) {
  const { refused, input } = textOf(request);
  if (refused) return refused;
  const app = { id: state.appId, slug: 'patchbay-test', name: 'Patchbay test' };
  const made = comment(state, { body: input.body, performed_via_github_app: app, ...fields });
  comments.push(made);
  return { status: 201, headers: { location: made.url }, body: made };
}

function complaintAboutText(text) {
  if (text === undefined) return problem(422, 'Invalid request.\n\n"body" wasn\'t supplied.');
  if (typeof text !== 'string') return problem(422, `Invalid request.\n\nFor 'properties/body', ${JSON.stringify(text)} is not a string.`);
  const wrong = (message) => problem(422, 'Validation Failed', [{ resource: 'IssueComment', code: 'unprocessable', field: 'data', message }]);
  if (text.trim() === '') return wrong("Body can't be blank");
  if ([...text].length > MAX_BODY) return wrong(`Body is too long (maximum is ${MAX_BODY} characters)`);
}

function comment(state, { id = (state.lastId += 1), html_url = (id) => `https://github.com/#${id}`, ...fields }) {
  // Whole seconds: what was written in this second can be older than a `since` with a fraction.
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return {
    id,
    url: `${state.url}/comments/${id}`,
    html_url: html_url(id),
    user: { login: 'patchbay-test[bot]', type: 'Bot' },
    created_at: now,
    updated_at: now,
    author_association: 'NONE',
    performed_via_github_app: null,
    ...fields,
  };
}

function problem(status, message, errors) {
  return { status, body: { message, errors, documentation_url: 'https://docs.github.com/rest', status: String(status) } };
}
