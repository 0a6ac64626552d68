// `npm run generate`: the OpenAPI document from the routes, and the types of clients/typescript from it. `--check`
// changes nothing and fails where something is out of date.
import { at, bin, main, must, run, say } from './process.mjs';
import { setup } from './setup.mjs';
import { join } from 'node:path';

const DOCUMENT = at('schemas', 'openapi.json');
const TYPES = at('clients', 'typescript', 'src', 'schema.d.ts');

async function generate() {
  const check = process.argv.includes('--check');
  // The native tests see to the document where nothing may be changed.
  if (!check) await must('cargo', ['test', '--quiet', '--test', 'openapi'], { env: { ...await setup(), UPDATE: '1' } });
  const options = ['--default-non-nullable=false', ...(check ? ['--check'] : [])];
  const types = await run(join(bin, 'openapi-typescript'), [DOCUMENT, '--output', TYPES, ...options]);
  if (types.code !== 0) throw new Error(`the client's types are out of date: run \`npm run generate\`\n${types.text}`);
  await must(join(bin, 'tsc'), ['--project', at('clients', 'typescript')]);
  say(check ? 'the client is up to date' : 'generated schemas/openapi.json and clients/typescript');
}

await main(import.meta.url, generate);
