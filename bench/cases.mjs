// What is measured, and on whom.
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { at, must } from '../scripts/process.mjs';
import { SECRET, WRONG, deliveries, payload } from './payloads.mjs';

const KIB = 1024;

/** Each `make()` gives the function that gives the requests; `most` bounds what a run may write. */
export const cases = [
  { name: 'empty route', make: () => () => ({ path: '/healthz' }), expect: 200 },
  { name: 'signature missing, 12 KB', make: () => deliveries(payload(12 * KIB), { signature: null }), expect: 401 },
  { name: 'signature wrong, 12 KB', make: () => deliveries(payload(12 * KIB), { signature: WRONG }), expect: 401 },
  { name: 'signature wrong, 256 KB', make: () => deliveries(payload(256 * KIB), { signature: WRONG }), expect: 401 },
  { name: 'verify and store, 1 KB', make: () => deliveries(payload(KIB)), expect: 202 },
  { name: 'verify and store, 12 KB', make: () => deliveries(payload(12 * KIB)), expect: 202 },
  { name: 'verify and store, 256 KB', make: () => deliveries(payload(256 * KIB)), expect: 202, most: 300 },
  { name: 'duplicate, 12 KB', make: () => deliveries(payload(12 * KIB), { id: () => 'the same each time' }), expect: 202 },
];

const EMPTY = ['empty route'];
const STORE = ['verify and store, 12 KB'];
const STORES = cases.map(({ name }) => name).filter((name) => name.startsWith('verify and store'));
const hubSchema = () => readdirSync(at('migrations')).filter((name) => name.endsWith('.sql')).sort()
  .map((name) => readFileSync(at('migrations', name), 'utf8')).join('\n');

/** All have the same bindings and the same services beside them, used or not. */
export const contenders = [
  {
    name: 'hub',
    main: 'src/edge/entry.js',
    schema: hubSchema,
    settings: { d1: true, queue: true },
    vars: {
      PATCHBAY_ADMIN_TOKEN: randomBytes(24).toString('base64url'),
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
    vars: { GITHUB_WEBHOOK_SECRET: SECRET },
  },
  { name: 'empty Worker', main: 'bench/workers/empty.js', settings: { d1: true, queue: true }, vars: {}, only: EMPTY },
];

/** By hand too, but with the hub's row and its message: not a rival, an explanation. */
export const sameWork = {
  name: 'Hono, same work', main: 'bench/workers/same-work.js', schema: hubSchema, settings: { d1: true, queue: true },
  vars: { GITHUB_WEBHOOK_SECRET: SECRET }, only: STORES,
};

/** The hub once more, with its queue's consumer: what dispatching to nobody costs on top of storing. */
export const dispatching = { ...contenders[0], name: 'hub, with dispatch', settings: { d1: true, queue: true, consumed: true }, only: STORE };

/** Bundles a contender as `wrangler deploy` would, into `folder`; gives what `configure` wants. */
export async function bundle({ main, vars, settings }, folder, env) {
  mkdirSync(folder, { recursive: true });
  const config = join(folder, 'wrangler.json');
  writeFileSync(config, JSON.stringify({ name: 'bench', main: at(main), compatibility_date: '2026-01-01' }));
  const modules = join(folder, 'modules');
  await must('wrangler', ['deploy', '--dry-run', '--outdir', modules, '--config', config], {
    cwd: folder, limit: 60, env: { ...env, CI: '1', WRANGLER_SEND_METRICS: 'false' },
  });
  return { modules, entry: main.split('/').at(-1), vars, ...settings };
}
