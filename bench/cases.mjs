// What is measured, and on whom.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { at, must } from '../scripts/process.mjs';
import { echoUrl } from './echo.mjs';
import { TOKEN, SECRET, WRONG, deliveries, payload } from './payloads.mjs';

const KIB = 1024;

/** What a row holds at most; more goes to KV, which the benchmark does not have. */
const LARGEST = 1_000_000;

/**
 * Each `make()` gives the function that gives the requests; `most` bounds what a run may write; `first` is a case that is
 * run before, so often, for what this one reads.
 */
export const cases = [
  { name: 'empty route', make: () => () => ({ path: '/healthz' }), expect: 200 },
  { name: 'signature missing, 12 KB', make: () => deliveries(payload(12 * KIB), { signature: null }), expect: 401 },
  { name: 'signature wrong, 12 KB', make: () => deliveries(payload(12 * KIB), { signature: WRONG }), expect: 401 },
  { name: 'signature wrong, 256 KB', make: () => deliveries(payload(256 * KIB), { signature: WRONG }), expect: 401 },
  { name: 'verify and store, 1 KB', make: () => deliveries(payload(KIB)), expect: 202 },
  { name: 'verify and store, 12 KB', make: () => deliveries(payload(12 * KIB)), expect: 202 },
  { name: 'verify and store, 256 KB', make: () => deliveries(payload(256 * KIB)), expect: 202, most: 300 },
  { name: 'verify and store, 1 MB', make: () => deliveries(payload(LARGEST)), expect: 202, most: 80 },
  { name: 'duplicate, 12 KB', make: () => deliveries(payload(12 * KIB), { id: () => 'the same each time' }), expect: 202 },
  {
    name: 'list of 50 events', first: ['verify and store, 1 KB', 50], expect: 200,
    make: () => () => ({ path: '/api/v1/events?limit=50', headers: { authorization: `Bearer ${TOKEN}` } }),
  },
  {
    name: 'action, 4 KB reply', expect: 200,
    make: () => {
      const body = Buffer.from(JSON.stringify({ inputs: { url: echoUrl() } }));
      const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
      return () => ({ method: 'POST', path: '/api/v1/integrations/api-fetch/actions/call_api', headers, body });
    },
  },
];

/** The hub's alone: the others have no actions. */
const ACTIONS = ['action, 4 KB reply'];
const EMPTY = ['empty route'];
const STORE = ['verify and store, 12 KB'];
const STORES = cases.map(({ name }) => name).filter((name) => name.startsWith('verify and store'));
const hubSchema = (root = at()) => readdirSync(join(root, 'migrations')).filter((name) => name.endsWith('.sql')).sort()
  .map((name) => readFileSync(join(root, 'migrations', name), 'utf8')).join('\n');

/** All have the same bindings and the same services beside them, used or not. */
export const contenders = [
  {
    name: 'hub',
    main: 'src/edge/entry.js',
    schema: () => hubSchema(),
    settings: { d1: true, queue: true, local: true },
    vars: {
      PATCHBAY_ADMIN_TOKEN: TOKEN,
      PATCHBAY_ALLOW_PRIVATE_NETWORK: 'true',
      PATCHBAY_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
      PATCHBAY_PUBLIC_URL: 'http://127.0.0.1:8787',
      GITHUB_WEBHOOK_SECRET: SECRET,
    },
  },
  {
    name: 'Hono',
    main: 'bench/workers/hono.js',
    schema: () => readFileSync(at('bench', 'workers', 'hono.sql'), 'utf8'),
    settings: { d1: true, queue: true },
    vars: { GITHUB_WEBHOOK_SECRET: SECRET, ADMIN_TOKEN: TOKEN },
    only: cases.map(({ name }) => name).filter((name) => !ACTIONS.includes(name)),
  },
  { name: 'empty Worker', main: 'bench/workers/empty.js', settings: { d1: true, queue: true }, vars: {}, only: EMPTY },
  {
    name: 'empty Worker in Rust', main: 'bench/workers/empty-rs/build/index.js', crate: 'bench/workers/empty-rs',
    settings: { d1: true, queue: true }, vars: {}, only: EMPTY,
  },
];

/** By hand too, but with the hub's row and its message: not a rival, an explanation. */
export const sameWork = {
  name: 'Hono, same work', main: 'bench/workers/same-work.js', schema: () => hubSchema(), settings: { d1: true, queue: true },
  vars: { GITHUB_WEBHOOK_SECRET: SECRET }, only: STORES,
};

/** The hub once more, with its queue's consumer: what dispatching to nobody costs on top of storing. */
export const dispatching = { ...contenders[0], name: 'hub, with dispatch', settings: { d1: true, queue: true, consumed: true }, only: STORE };

export const EARLIER = 'hub, earlier';

/** The hub that is built in another folder. */
export const earlier = (folder) => ({ ...contenders[0], name: EARLIER, main: resolve(folder, contenders[0].main), schema: () => hubSchema(resolve(folder)) });

/** What a case of the hub may cost at most in D1, per request. */
export function allowed(contender, name) {
  if (contender === dispatching.name) return { rowsWritten: 6, statements: 4, roundTrips: 3 };
  if (STORES.includes(name)) return { rowsWritten: 4, statements: 1, roundTrips: 1 };
  if (name.startsWith('duplicate')) return { rowsWritten: 0, statements: 2, roundTrips: 2 };
  if (name.startsWith('list')) return { rowsWritten: 0, statements: 2, roundTrips: 1 };
  if (ACTIONS.includes(name)) return { rowsWritten: 1, statements: 1, roundTrips: 1 };
  return { rowsWritten: 0, statements: 0, roundTrips: 0 };
}

/** Bundles a contender as `wrangler deploy` would, into `folder`; gives what `configure` wants. */
export async function bundle({ main, crate, vars, settings }, folder, env, built) {
  mkdirSync(folder, { recursive: true });
  if (crate && !(built && existsSync(at(main)))) await must(env.WORKER_BUILD_BIN, ['--release'], { cwd: at(crate), limit: 600, env });
  const config = join(folder, 'wrangler.json');
  writeFileSync(config, JSON.stringify({ name: 'bench', main: resolve(at(), main), compatibility_date: '2026-01-01' }));
  const modules = join(folder, 'modules');
  await must('wrangler', ['deploy', '--dry-run', '--outdir', modules, '--config', config], {
    cwd: folder, limit: 60, env: { ...env, CI: '1', WRANGLER_SEND_METRICS: 'false' },
  });
  return { modules, entry: main.split('/').at(-1), vars, ...settings };
}
