// The part of Jira's REST API that the hub uses. Every request is checked against jira-api.json, every document against
// Atlassian's own schema of them, and refused as Jira does.
import adf from './adf-schema.json' with { type: 'json' };
import api from './jira-api.json' with { type: 'json' };
import { misfit } from './json-schema.mjs';
import { startServer } from './server.mjs';

const STATUSES = ['To Do', 'In Progress', 'Done'];
const TRANSITIONS = [{ id: '11', name: 'Start', to: 'In Progress' }, { id: '31', name: 'Finish', to: 'Done' }];

/** A site with one project, `DEMO`. `email` and `token` are what Basic takes; they belong to `user`. `server`: a Data Center; `personal`: it takes the
 *  token alone. */
export async function startFakeJira({ email, token, user, server: isServer = false, personal = false }) {
  const state = { authorization: personal ? `Bearer ${token}` : `Basic ${Buffer.from(`${email}:${token}`).toString('base64')}`, user, isServer, team: new Set(), issues: new Map(), lastId: 10_100, calls: [] };
  const server = await startServer((request) => answer(state, request));

  return {
    ...server,
    /** Somebody to whom issues can be assigned. */
    addMember: (id) => void state.team.add(id),
    addIssue: (key, facts = {}) => void state.issues.set(key, { id: `1${key.replace(/\D/g, '').padStart(4, '0')}`, key, fields: { summary: 'Printer on fire', description: null, status: { name: STATUSES[0] }, assignee: null, labels: [], issuetype: { name: 'Bug' }, priority: { name: 'High' }, ...facts }, comments: [] }),
    issue: (key) => state.issues.get(key),
    keys: () => [...state.issues.keys()],
    /** A comment of a person's; gives its id. */
    say: (key, author, text) => comment(state, state.issues.get(key), { author, body: isServer ? text : { type: 'doc', version: 1, content: [{ type: 'paragraph', content: [{ type: 'text', text }] }] } }).id,
    /** What the hub wrote on an issue, oldest first. */
    written: (key) => state.issues.get(key).comments.filter(({ author }) => author === user).map(({ body }) => body),
    comments: (key) => state.issues.get(key).comments,
    /** The calls that changed something, in order. */
    writes: () => state.calls.filter(({ method, status }) => method !== 'GET' && status < 300).map(({ method, route }) => `${method} ${route}`),
  };
}

const refusal = (status, message, errors = {}) => ({ status, body: { errorMessages: message ? [message] : [], errors } });

const PATTERNS = Object.entries(api).filter(([route]) => route.includes(' ')).map(([name, spec]) => {
  const [method, route] = name.split(' ');
  return { method, route, spec, pattern: new RegExp(`^${route.replaceAll('{id}', '([^/]+)')}$`) };
});

function answer(state, request) {
  const { method, path, headers } = request;
  if (headers.authorization !== state.authorization) return refusal(401, 'Client must be authenticated to access this resource.');
  const [, version, rest] = /^\/rest\/api\/(\d)(\/.*)$/.exec(path) ?? [];
  const found = version === (state.isServer ? '2' : '3') && PATTERNS.find((one) => one.method === method && one.pattern.test(rest));
  if (!found) return { status: 404, body: { message: 'null for uri', 'status-code': 404 } };
  const call = { method, route: found.route };
  state.calls.push(call);
  const reply = complaint(state, found.spec, request) ?? HANDLERS[`${method} ${found.route}`](state, request, ...found.pattern.exec(rest).slice(1).map(decodeURIComponent));
  call.status = reply.status;
  return reply;
}

/** What is wrong with a request by Jira's own description, or nothing. */
function complaint(state, { query = [], required, properties }, request) {
  const unknown = [...request.query.keys()].find((name) => !query.includes(name));
  if (unknown) return refusal(400, `unknown parameter ${unknown}`);
  if (!properties) return undefined;
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return { status: 415, body: '' };
  try {
    request.json = JSON.parse(request.body);
  } catch {
    return refusal(400, 'There was an error parsing JSON. Check that your request body is valid.');
  }
  const missing = required.find((name) => request.json[name] === undefined);
  if (missing) return refusal(400, '', { [missing]: `${missing} is required` });
  const errors = wrongs(state, properties, request.json);
  if (Object.keys(errors).length > 0) return refusal(400, '', errors);
}

function wrongs(state, types, values) {
  const errors = {};
  for (const [name, value] of Object.entries(values)) {
    const wrong = !types[name] ? `Field '${name}' cannot be set. It is not on the appropriate screen, or unknown.` : one(state, types[name], value);
    if (typeof wrong === 'object') Object.assign(errors, wrong);
    else if (wrong) errors[name] = wrong;
  }
  return errors;
}

function one(state, type, value) {
  if (type === 'fields') return wrongs(state, api.fields, value);
  if (type === 'adf' && state.isServer) return typeof value === 'string' ? undefined : 'Operation value must be a string';
  if (type === 'adf') {
    const wrong = misfit(adf, { $ref: '#/definitions/doc_node' }, value);
    return wrong && `Operation value must be an Atlassian Document (see the Atlassian Document Format): ${wrong}`;
  }
  const fits = type === 'array' ? Array.isArray(value) : typeof value === type && value !== null && !Array.isArray(value);
  return fits ? undefined : `no ${type}`;
}

const withIssue = (act) => (state, request, id, ...rest) => {
  const found = state.issues.get(id) ?? [...state.issues.values()].find((issue) => issue.id === id);
  return found ? act(state, request, found, ...rest) : refusal(404, 'Issue does not exist or you do not have permission to see it.');
};
const person = (state, id) => ({ ...(state.isServer ? { name: id, key: id } : { accountId: id, accountType: 'atlassian' }), displayName: id.replace(/^5b1:/, ''), active: true });
const shown = (state, { author, ...rest }) => ({ ...rest, author: person(state, author), updateAuthor: person(state, author) });

function comment(state, issue, { author, body, properties }) {
  const made = { id: String(state.lastId += 1), author, body, ...(properties && { properties }), created: new Date().toISOString().replace('Z', '+0000') };
  issue.comments.push(made);
  return made;
}

const HANDLERS = {
  'GET /issue/{id}': withIssue((_, __, { id, key, fields }) => ({ status: 200, body: { id, key, fields } })),
  'GET /issue/{id}/comment': withIssue((state, { query }, { comments }) => ({ status: 200, body: { startAt: 0, total: comments.length, comments: (query.get('orderBy') === '-created' ? comments.toReversed() : comments).slice(0, Number(query.get('maxResults') ?? 50)).map((one) => shown(state, one)) } })),
  'POST /issue/{id}/comment': withIssue((state, { json }, issue) => {
    const text = JSON.stringify(json.body);
    if (text.length > 32_767 * 4) return refusal(400, '', { comment: 'The entered text is too long. It exceeds the allowed limit of 32,767 characters.' });
    return { status: 201, body: shown(state, comment(state, issue, { ...json, author: state.user })) };
  }),
  'PUT /issue/{id}/comment/{id}': withIssue((state, { json }, { comments }, id) => {
    const found = comments.find((one) => one.id === id);
    if (!found) return refusal(404, `Can not find a comment for the id: ${id}.`);
    if (found.author !== state.user) return refusal(400, 'You do not have the permission to edit this comment.');
    found.body = json.body;
    return { status: 200, body: shown(state, found) };
  }),
  'GET /user/assignable/search'(state, { query }) {
    const id = query.get(state.isServer ? 'username' : 'accountId');
    if (!query.get('issueKey') || !id) return refusal(400, 'issueKey and a user must be given');
    return { status: 200, body: state.team.has(id) ? [person(state, id)] : [] };
  },
  'POST /issue'(state, { json: { fields } }) {
    if (fields.project?.key !== 'DEMO') return refusal(400, '', { project: 'valid project is required' });
    if (!['Task', 'Bug'].includes(fields.issuetype?.name)) return refusal(400, '', { issuetype: 'Specify a valid issue type' });
    if (!fields.summary) return refusal(400, '', { summary: 'You must specify a summary of the issue.' });
    if (fields.parent && !state.issues.has(fields.parent.key)) return refusal(400, '', { parent: 'Could not find parent issue' });
    const key = `DEMO-${state.issues.size + 42}`;
    state.issues.set(key, { id: `2${state.issues.size}`, key, fields: { ...fields, status: { name: STATUSES[0] } }, comments: [] });
    return { status: 201, body: { id: state.issues.get(key).id, key } };
  },
  'PUT /issue/{id}': withIssue((_, { json: { fields = {}, update = {} } }, issue) => {
    for (const change of update.labels ?? []) {
      if (/\s/.test(change.add ?? '')) return refusal(400, '', { labels: `The label '${change.add}' contains spaces which is invalid.` });
      issue.fields.labels = [...new Set([...issue.fields.labels, ...(change.add ? [change.add] : [])])].filter((label) => label !== change.remove);
    }
    Object.assign(issue.fields, fields);
    return { status: 204 };
  }),
  'GET /issue/{id}/transitions': withIssue((_, __, { fields }) => ({ status: 200, body: { transitions: TRANSITIONS.filter(({ to }) => to !== fields.status.name).map((one) => ({ ...one, to: { name: one.to } })) } })),
  'POST /issue/{id}/transitions': withIssue((_, { json: { transition } }, { fields }) => {
    const found = TRANSITIONS.find(({ id, to }) => id === transition.id && to !== fields.status.name);
    if (!found) return refusal(400, `Transition id '${transition.id}' is not valid for this issue.`);
    fields.status = { name: found.to };
    return { status: 204 };
  }),
};
