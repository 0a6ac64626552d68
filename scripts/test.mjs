// `npm test`: Rust tests natively, then the built Worker in workerd. `-- native` and `-- e2e [pattern]`
// run one half. The last line is `N passed, N failed`.
import { existsSync, readdirSync } from 'node:fs';
import { at, main, run, say } from './process.mjs';
import { build } from './build.mjs';
import { setup } from './setup.mjs';

const HALVES = { native, e2e };

async function test() {
  const [half, pattern = ''] = process.argv.slice(2);
  if (half && !HALVES[half]) throw new Error('usage: npm test [-- native | -- e2e [part of a file name]]');
  const env = await setup();
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, part] of Object.entries(HALVES)) {
    if (!half || half === name) add(total, await part(env, pattern));
  }
  if (total.skipped > 0) console.log(`${total.skipped} skipped`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

function add(total, { passed = 0, failed = 0, skipped = 0 }) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

async function native(env) {
  const { code, text } = await run('cargo', ['test', '--no-fail-fast'], { env, output: 'tee' });
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of text.matchAll(/^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    add(total, { passed: Number(passed), failed: Number(failed), skipped: Number(ignored) });
  }
  return atLeastOneFailure(code, total, 'cargo test');
}

async function e2e(env, pattern) {
  const folder = at('tests', 'e2e');
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.test.mjs') && name.includes(pattern)) : [];
  if (names.length === 0) {
    say(`no end-to-end test file${pattern && ` matches ${pattern}`}`);
    return {};
  }
  try {
    await build(env);
  } catch (error) {
    console.error(`patchbay: ${error.message}`);
    return { failed: 1 };
  }
  // One file at a time: each starts a workerd of its own.
  const args = ['--test', '--test-reporter=spec', '--test-concurrency=1', ...names.map((name) => `tests/e2e/${name}`)];
  const quiet = { CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' };
  const { code, text } = await run('node', args, { env: { ...env, ...quiet }, output: 'tee' });
  const count = (word) => Number(new RegExp(`^ℹ ${word} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const total = { passed: count('pass'), failed: count('fail') + count('cancelled'), skipped: count('skipped') + count('todo') };
  return atLeastOneFailure(code, total, 'node --test');
}

/** A run that ended badly without a failed test (it did not compile, it crashed) is one failure. */
function atLeastOneFailure(code, total, name) {
  if (code === 0 || total.failed > 0) return total;
  say(`${name} ended with code ${code}`);
  return { ...total, failed: 1 };
}

await main(import.meta.url, test);
