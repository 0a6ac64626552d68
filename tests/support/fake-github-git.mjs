// The repository behind the fake GitHub: branches, commits, files, pull requests and labels, with the refusals of the real one.
import { createHash } from 'node:crypto';
import api from './github-api.json' with { type: 'json' };

const sha = (value) => createHash('sha1').update(JSON.stringify(value)).digest('hex');

/** A repository whose `main` holds `files`, a path to a text each. */
export function makeGit(files = { 'README.md': '# Hello\n' }) {
  const git = { blobs: new Map(), trees: new Map(), commits: new Map(), refs: new Map(), pulls: [], labels: new Map(), nextPull: 100 };
  const tree = addTree(git, Object.fromEntries(Object.entries(files).map(([path, text]) => [path, { mode: '100644', blob: addBlob(git, Buffer.from(text)) }])));
  git.refs.set('main', addCommit(git, { message: 'first', tree, parents: [] }));
  return git;
}

function addBlob(git, bytes) {
  const id = sha(['blob', bytes.toString('base64')]);
  git.blobs.set(id, bytes);
  return id;
}

function addTree(git, entries) {
  const id = sha(['tree', Object.entries(entries).sort()]);
  git.trees.set(id, entries);
  return id;
}

function addCommit(git, commit) {
  const id = sha(['commit', commit, git.commits.size]);
  git.commits.set(id, commit);
  return id;
}

/** The files of a branch, a path to a text each. */
export function filesOf(git, branch) {
  const tree = git.trees.get(git.commits.get(git.refs.get(branch)).tree);
  return Object.fromEntries(Object.entries(tree).map(([path, { blob }]) => [path, git.blobs.get(blob).toString()]));
}

/** The messages of a branch's commits, latest first. */
export const messagesOf = (git, branch) => idsFrom(git, git.refs.get(branch)).map((id) => git.commits.get(id).message);

function idsFrom(git, first) {
  const ids = [];
  for (let id = first; id; id = git.commits.get(id).parents[0]) ids.push(id);
  return ids;
}

/** What is wrong with a body by GitHub's own description, or nothing. */
export function complaint(method, path, body) {
  const route = path.replace(/^\/repos\/[^/]+\/[^/]+/, '/repos/{repo}').replace(/\/refs\/heads\/.+$/, '/refs/heads/{branch}').replace(/\/\d+(?=\/|$)/g, '/{n}');
  const schema = api[`${method} ${route}`];
  if (!schema) return undefined;
  if (typeof body !== 'object' || body === null) return 'Problems parsing JSON';
  const missing = schema.required.find((name) => body[name] === undefined);
  if (missing) return `Invalid request.\n\n"${missing}" wasn't supplied.`;
  return wrong(body, schema.properties) ?? (schema.tree && body.tree.map((entry) => wrong(entry, schema.tree)).find(Boolean));
}

function wrong(body, types) {
  for (const [name, value] of Object.entries(body)) {
    const type = types[name];
    if (!type) return `Invalid request.\n\n"${name}" is not a permitted key.`;
    const fits = Array.isArray(type) ? type.includes(value)
      : type === 'array' ? Array.isArray(value)
        : type === 'string or null' ? value === null || typeof value === 'string' : typeof value === type;
    if (!fits) return `Invalid request.\n\nFor 'properties/${name}', ${JSON.stringify(value)} is not a ${type}.`;
  }
}

const gone = { status: 404, body: { message: 'Not Found' } };
const invalid = (message, errors) => ({ status: 422, body: { message, errors } });

export const GIT_ROUTES = [
  ['GET', /^$/, () => ({ status: 200, body: { default_branch: 'main' } })],
  ['GET', /^\/git\/ref\/heads\/(.+)$/, ({ git }, request, branch) => {
    const id = git.refs.get(decodeURIComponent(branch));
    return id ? { status: 200, body: { ref: `refs/heads/${branch}`, object: { type: 'commit', sha: id } } } : gone;
  }],
  ['GET', /^\/commits$/, ({ git }, { query }) => {
    const from = query.get('sha');
    if (!git.commits.has(from)) return gone;
    const shown = (sha) => { const { message, tree, parents } = git.commits.get(sha); return { sha, commit: { message, tree: { sha: tree } }, parents: parents.map((one) => ({ sha: one })) }; };
    return { status: 200, body: idsFrom(git, from).slice(0, Number(query.get('per_page') ?? 30)).map(shown) };
  }],
  ['POST', /^\/git\/blobs$/, ({ git }, { json }) => ({ status: 201, body: { sha: addBlob(git, Buffer.from(json.content, json.encoding === 'base64' ? 'base64' : 'utf8')) } })],
  ['POST', /^\/git\/trees$/, ({ git }, { json }) => {
    const base = json.base_tree ? git.trees.get(json.base_tree) : {};
    if (!base) return invalid('base_tree is not a valid tree oid');
    const entries = { ...base };
    for (const { path, mode, sha: blob, content } of json.tree) {
      if (path.startsWith('/') || path.split('/').some((part) => ['', '.', '..', '.git'].includes(part))) return invalid('tree.path contains a malformed path component');
      if (blob === null) {
        if (!entries[path]) return invalid('GitRPC::BadObjectState');
        delete entries[path];
      } else if (blob !== undefined && !git.blobs.has(blob)) return invalid('tree.sha is not a valid blob');
      else entries[path] = { mode, blob: blob ?? addBlob(git, Buffer.from(content)) };
    }
    return { status: 201, body: { sha: addTree(git, entries) } };
  }],
  ['POST', /^\/git\/commits$/, ({ git }, { json }) => {
    if (!git.trees.has(json.tree)) return invalid('Tree SHA does not exist');
    if (!(json.parents ?? []).every((id) => git.commits.has(id))) return invalid('Parent SHA does not exist or is not a commit object');
    return { status: 201, body: { sha: addCommit(git, { message: json.message, tree: json.tree, parents: json.parents ?? [] }) } };
  }],
  ['PATCH', /^\/git\/refs\/heads\/(.+)$/, ({ git }, { json }, name) => {
    const branch = decodeURIComponent(name);
    if (!git.refs.has(branch)) return invalid('Reference does not exist');
    if (!git.commits.has(json.sha)) return invalid('Object does not exist');
    if (!json.force && !isAncestor(git, git.refs.get(branch), json.sha)) return invalid('Update is not a fast forward');
    git.refs.set(branch, json.sha);
    return { status: 200, body: { ref: `refs/heads/${branch}`, object: { sha: json.sha } } };
  }],
  ['POST', /^\/git\/refs$/, ({ git }, { json }) => {
    const branch = /^refs\/heads\/(.+)$/.exec(json.ref)?.[1];
    if (!branch) return invalid('Reference name must start with refs/');
    if (git.refs.has(branch)) return invalid('Reference already exists');
    if (!git.commits.has(json.sha)) return invalid('Object does not exist');
    git.refs.set(branch, json.sha);
    return { status: 201, body: { ref: json.ref, object: { sha: json.sha } } };
  }],
  ['POST', /^\/pulls$/, ({ git, name }, { json }) => {
    const error = (fields) => invalid('Validation Failed', [{ resource: 'PullRequest', ...fields }]);
    if (!json.title) return error({ code: 'missing_field', field: 'title' });
    for (const side of ['head', 'base']) if (!git.refs.has(json[side])) return error({ field: side, code: 'invalid' });
    if (git.refs.get(json.head) === git.refs.get(json.base)) return error({ code: 'custom', message: `No commits between ${json.base} and ${json.head}` });
    const head = `${name.split('/')[0]}:${json.head}`;
    if (git.pulls.some((pull) => pull.head === head && pull.base === json.base)) return error({ code: 'custom', message: `A pull request already exists for ${head}.` });
    const number = git.nextPull += 1;
    git.pulls.push({ number, head, ...json, head_ref: json.head, head: head });
    return { status: 201, body: { number, html_url: `https://github.com/${name}/pull/${number}`, state: 'open' } };
  }],
  ['GET', /^\/pulls$/, ({ git, name }, { query }) => ({
    status: 200,
    body: git.pulls.filter((pull) => pull.head === query.get('head') && pull.base === query.get('base')).map(({ number }) => ({ number, html_url: `https://github.com/${name}/pull/${number}` })),
  })],
  ['POST', /^\/issues\/(\d+)\/labels$/, ({ git, issues }, { json }, issue) => {
    if (!issues.has(issue)) return gone;
    const all = git.labels.get(issue) ?? new Set();
    git.labels.set(issue, all);
    for (const label of json.labels) all.add(label);
    return { status: 200, body: [...all].map((label) => ({ id: 1, name: label })) };
  }],
  ['DELETE', /^\/issues\/(\d+)\/labels\/(.+)$/, ({ git, issues }, request, issue, label) => {
    if (!issues.has(issue)) return gone;
    const all = git.labels.get(issue) ?? new Set();
    if (!all.delete(decodeURIComponent(label))) return { status: 404, body: { message: 'Label does not exist' } };
    return { status: 200, body: [...all].map((one) => ({ id: 1, name: one })) };
  }],
  ['GET', /^\/contents\/(.+)$/, ({ git }, { query }, path) => {
    const branch = query.get('ref') ?? 'main';
    const text = git.refs.has(branch) ? filesOf(git, branch)[decodeURIComponent(path)] : undefined;
    if (text === undefined) return gone;
    return { status: 200, body: { type: 'file', encoding: 'base64', sha: sha(['blob', text]), content: `${Buffer.from(text).toString('base64')}\n` } };
  }],
];

function isAncestor(git, old, id) {
  const waiting = [id];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (next === old) return true;
    waiting.push(...(git.commits.get(next)?.parents ?? []));
  }
  return false;
}
