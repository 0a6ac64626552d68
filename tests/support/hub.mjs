// The built Worker in workerd with D1, KV and Queues of its own: one per test file.
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { createTestHarness } from 'wrangler';
import { client } from './api.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

export const SETTINGS = {
  PATCHBAY_ADMIN_TOKEN: randomBytes(24).toString('base64url'),
  PATCHBAY_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  // Not where the harness listens: its port is not known before the settings are.
  PATCHBAY_PUBLIC_URL: 'http://127.0.0.1:8787',
  PATCHBAY_ALLOW_PRIVATE_NETWORK: 'true',
  GITHUB_WEBHOOK_SECRET: randomBytes(24).toString('hex'),
};

/** Starts a hub with SETTINGS and the given ones on top; `undefined` takes one away. */
export async function startHub(settings = {}, { migrated = true, config = 'wrangler.toml' } = {}) {
  const wanted = Object.entries({ ...SETTINGS, ...settings }).filter(([, value]) => value !== undefined);
  const secrets = Object.fromEntries(wanted);
  const server = createTestHarness({ root, workers: [{ configPath: `tests/e2e/${config}`, secrets }] });
  const { url } = await server.listen();
  if (migrated) await server.getWorker().applyD1Migrations('DB');

  return {
    url: url.origin,
    settings: secrets,
    ...client(url.origin, secrets.PATCHBAY_ADMIN_TOKEN),
    /** What cron does each minute. */
    tick: () => server.getWorker().scheduled({ cron: '* * * * *' }),
    /** The Worker's bindings. */
    env: () => server.getWorker().getEnv(),
    /** The lines that the Worker has logged so far. */
    logs: () => server.getLogs().map(({ message }) => message),
    async close() {
      if (process.env.PATCHBAY_TEST_LOGS) server.debug();
      await server.close();
    },
  };
}
