// The part of GitLab's REST API that the hub uses. Every request is checked against gitlab-api.json, and refused as GitLab
// does.
import api from './gitlab-api.json' with { type: 'json' };
import { startServer } from './server.mjs';

const LEVELS = { guest: 10, reporter: 20, developer: 30, maintainer: 40 };
const is = {
  string: (value) => typeof value === 'string',
  number: (value) => Number.isInteger(Number(value)),
  boolean: (value) => typeof value === 'boolean',
  array: Array.isArray,
};

/** One project, `demo/app`, with a branch `main`. `token` is the only one that it takes; it belongs to the user 99. */
export async function startFakeGitLab({ token }) {
  const state = {
    token, path: 'demo/app', members: new Map(), lastId: 1_000, items: new Map(), merges: [], calls: [],
    branches: new Map([['main', [{ id: 'commit-0', message: 'first' }]]]), files: new Map([['main', new Map([['README.md', file('# Hello\n', 'commit-0')]])]]),
  };
  const server = await startServer((request) => answer(state, request));

  return {
    ...server,
    addMember: (id, username, role, more = {}) => void state.members.set(id, { id, username, state: 'active', access_level: LEVELS[role], ...more }),
    /** An issue or a merge request: `issues/1`, `merge_requests/2`. */
    addItem: (key) => void state.items.set(key, { labels: new Set(), emoji: [], notes: [] }),
    /** A note of a person's, in a discussion of its own or in one that is there; gives it. */
    say: (key, user, body, discussion) => note(state, key, { body, author: user, discussion }),
    /** What the hub wrote on an issue or merge request, without its mark. */
    written: (key) => state.items.get(key).notes.filter(({ author }) => author === 99).map(({ body, discussion }) => ({ body: body.replace(/\n\n<!-- patchbay:run_\w+ -->$/, ''), ...(discussion && { discussion }) })),
    emoji: (key, id) => (id ? state.items.get(key).notes.find((one) => one.id === id) : state.items.get(key)).emoji,
    labels: (key) => [...state.items.get(key).labels],
    merges: state.merges,
    commits: (branch) => state.branches.get(branch).map(({ message }) => message.split('\n')[0]),
    files: (branch) => Object.fromEntries([...state.files.get(branch)].map(([path, { content }]) => [path, content.toString()])),
    /** Somebody else commits. */
    commit(branch, path, text) {
      const id = `commit-${state.lastId += 1}`;
      state.branches.get(branch).unshift({ id, message: `other ${path}` });
      state.files.get(branch).set(path, file(text, id));
    },
    /** The calls that changed something, in order. */
    writes: () => state.calls.filter(({ method, status }) => method !== 'GET' && status < 300).map(({ method, route }) => `${method} ${route.replace('/projects/{id}', '')}`),
  };
}

const file = (text, commit) => ({ content: Buffer.from(text), last_commit_id: commit });
const problem = (status, message) => ({ status, body: { message } });
const gone = (what) => problem(404, `404 ${what} Not Found`);

function answer(state, request) {
  const { method, path, headers } = request;
  if (headers.authorization !== `Bearer ${state.token}`) return problem(401, '401 Unauthorized');
  const found = routeOf(method, path);
  if (!found) return { status: 404, body: { error: '404 Not Found' } };
  const refused = complaint(found.spec, request);
  const call = { method, route: found.route };
  state.calls.push(call);
  const reply = refused ?? (found.ids[0] === state.path ? HANDLERS[`${method} ${found.route}`](state, request, ...found.ids.slice(1)) : gone('Project'));
  call.status = reply.status;
  return reply;
}

const PATTERNS = Object.entries(api).filter(([route]) => route.includes(' ')).map(([route, spec]) => {
  const [method, shape] = route.split(' ');
  const pattern = shape.replace('{kind}', '(issues|merge_requests)').replaceAll('{n}', '(\\d+)').replace(/\{(id|hash|branch|path)\}/g, '([^/]+)');
  return { method, route: shape, spec, pattern: new RegExp(`^/api/v4${pattern}$`) };
});

function routeOf(method, path) {
  for (const one of PATTERNS) {
    const match = one.method === method && one.pattern.exec(path);
    if (match) return { ...one, ids: match.slice(1).map(decodeURIComponent) };
  }
}

/** What is wrong with a request by GitLab's own description, or nothing. */
function complaint({ query = {}, requiredQuery = [], required, properties, action }, request) {
  const wrong = (types, values) => Object.entries(values).find(([name, value]) => !types[name] || !(Array.isArray(types[name]) ? types[name].includes(value) : is[types[name]](value)))?.[0];
  const asked = Object.fromEntries(request.query);
  const bad = wrong(query, asked) ?? requiredQuery.find((name) => !(name in asked));
  if (bad) return { status: 400, body: { error: `${bad} is invalid` } };
  if (!properties) return request.body.length > 0 ? { status: 400, body: { error: 'a body was sent' } } : undefined;
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return { status: 415, body: { error: 'The provided content-type is not supported.' } };
  request.json = JSON.parse(request.body);
  const lacks = (names, values) => names.find((name) => values[name] === undefined);
  const missing = lacks(required, request.json);
  if (missing) return { status: 400, body: { error: `${missing} is missing` } };
  const name = wrong(properties, request.json) ?? (action && request.json.actions.map((one) => lacks(action.required, one) ?? wrong(action.properties, one)).find(Boolean));
  if (name) return { status: 400, body: { error: `${name} is invalid` } };
}

const withItem = (act) => (state, request, kind, iid, ...rest) => {
  const item = state.items.get(`${kind}/${iid}`);
  return item ? act(state, request, item, `${kind}/${iid}`, ...rest) : gone('');
};
const shown = (state, { id, body, author, created_at, system = false }) => ({ id, body, system, created_at, author: state.members.get(author) ?? { id: author, username: 'patchbay' } });

function note(state, key, { body, author, discussion = `d${state.lastId + 1}`, ...more }) {
  const made = { id: (state.lastId += 1), body, author, discussion, emoji: [], created_at: new Date(1_769_860_000_000 + state.lastId * 1_000).toISOString(), ...more };
  state.items.get(key).notes.push(made);
  return made;
}

function award(target, { name }) {
  if (!/^[a-z0-9_+-]+$/.test(name)) return problem(404, '404 Award Emoji Name is not a valid emoji name Not Found');
  if (target.emoji.includes(name)) return problem(404, '404 Award Emoji Name has already been taken Not Found');
  target.emoji.push(name);
  return { status: 201, body: { id: 1, name } };
}

const HANDLERS = {
  'GET /projects/{id}': (state) => ({ status: 200, body: { id: 5, path_with_namespace: state.path, default_branch: 'main' } }),
  'GET /projects/{id}/members/all/{n}'(state, _, id) {
    const found = state.members.get(Number(id));
    return found ? { status: 200, body: found } : gone('');
  },
  'GET /projects/{id}/{kind}/{n}/notes': withItem((state, { query }, item) => ({ status: 200, body: item.notes.toReversed().slice(0, Number(query.get('per_page') ?? 20)).map((one) => shown(state, one)) })),
  'GET /projects/{id}/{kind}/{n}/discussions/{hash}': withItem((state, _, item, key, id) => {
    const notes = item.notes.filter(({ discussion }) => discussion === id);
    return notes.length > 0 ? { status: 200, body: { id, individual_note: notes.length === 1, notes: notes.map((one) => shown(state, one)) } } : gone('Discussion');
  }),
  'POST /projects/{id}/{kind}/{n}/notes': withItem((state, { json }, item, key) => ({ status: 201, body: shown(state, note(state, key, { ...json, author: 99, discussion: null })) })),
  'POST /projects/{id}/{kind}/{n}/discussions/{hash}/notes': withItem((state, { json }, item, key, discussion) => (item.notes.some((one) => one.discussion === discussion) ? { status: 201, body: shown(state, note(state, key, { ...json, author: 99, discussion })) } : gone('Discussion'))),
  'PUT /projects/{id}/{kind}/{n}/notes/{n}': withItem((state, { json }, item, key, id) => {
    const found = item.notes.find((one) => one.id === Number(id));
    if (!found) return gone('Note');
    if (found.author !== 99) return problem(403, '403 Forbidden');
    found.body = json.body;
    return { status: 200, body: shown(state, found) };
  }),
  'POST /projects/{id}/{kind}/{n}/award_emoji': withItem((_, { json }, item) => award(item, json)),
  'POST /projects/{id}/{kind}/{n}/notes/{n}/award_emoji': withItem((_, { json }, item, key, id) => {
    const found = item.notes.find((one) => one.id === Number(id));
    return found ? award(found, json) : gone('Note');
  }),
  'PUT /projects/{id}/{kind}/{n}': withItem((_, { json: { add_labels, remove_labels } }, item) => {
    if (!add_labels && !remove_labels) return { status: 400, body: { error: 'assignee_id, title, … are missing, at least one parameter must be provided' } };
    for (const name of add_labels?.split(',') ?? []) item.labels.add(name);
    for (const name of remove_labels?.split(',') ?? []) item.labels.delete(name);
    return { status: 200, body: { labels: [...item.labels] } };
  }),
  'GET /projects/{id}/merge_requests': (state, { query }) => ({ status: 200, body: state.merges.filter((one) => one.source_branch === query.get('source_branch') && one.target_branch === query.get('target_branch')) }),
  'POST /projects/{id}/merge_requests'(state, { json }) {
    const there = state.merges.find((one) => one.source_branch === json.source_branch);
    if (there) return { status: 409, body: { message: [`Another open merge request already exists for this source branch: !${there.iid}`] } };
    if (!state.branches.has(json.source_branch)) return { status: 422, body: { message: ['Source branch does not exist'] } };
    const iid = 100 + state.merges.length;
    state.merges.push({ ...json, iid, web_url: `https://gitlab.example/demo/app/-/merge_requests/${iid}` });
    return { status: 201, body: state.merges.at(-1) };
  },
  'GET /projects/{id}/repository/branches/{branch}'(state, _, name) {
    const commits = state.branches.get(name);
    return commits ? { status: 200, body: { name, commit: commits[0] } } : gone('Branch');
  },
  'GET /projects/{id}/repository/commits'(state, { query }) {
    const commits = state.branches.get(query.get('ref_name'));
    return commits ? { status: 200, body: commits.slice(0, Number(query.get('per_page'))) } : gone('Tree');
  },
  'GET /projects/{id}/repository/files/{path}'(state, { query }, path) {
    const ref = query.get('ref') === 'HEAD' ? 'main' : query.get('ref');
    const found = state.files.get(ref)?.get(path);
    return found ? { status: 200, body: { file_path: path, ref, encoding: 'base64', content: found.content.toString('base64'), last_commit_id: found.last_commit_id } } : gone('File');
  },
  'POST /projects/{id}/repository/commits'(state, { json: { branch, start_branch, commit_message, actions } }) {
    const isNew = !state.branches.has(branch);
    if (isNew && !state.branches.has(start_branch)) return problem(400, 'You can only create or edit files when you are on a branch');
    if (!isNew && start_branch) return problem(400, `A branch called '${branch}' already exists. Switch to that branch in order to make changes`);
    const id = `commit-${state.lastId += 1}`;
    const files = new Map(state.files.get(isNew ? start_branch : branch));
    for (const { action, file_path, content, encoding, last_commit_id } of actions) {
      const there = files.get(file_path);
      if (action === 'create' && there) return problem(400, 'A file with this name already exists');
      if (action !== 'create' && !there) return problem(400, "A file with this name doesn't exist");
      if (last_commit_id && there?.last_commit_id !== last_commit_id) return problem(400, `The file has changed since you started editing it: ${file_path}`);
      if (action === 'delete') files.delete(file_path);
      else files.set(file_path, { content: Buffer.from(content, encoding === 'base64' ? 'base64' : 'utf8'), last_commit_id: id });
    }
    state.files.set(branch, files);
    state.branches.set(branch, [{ id, message: commit_message }, ...state.branches.get(isNew ? start_branch : branch)]);
    return { status: 201, body: { id, message: commit_message } };
  },
};
