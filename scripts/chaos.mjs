// `npm run chaos`: many events to a destination that fails often, while the server is killed again and again.
// `--events 2000 --kills 5 --failing 0.3 --minutes 10` are the usual ones.
import { parseArgs } from 'node:util';
import { main, say, seconds } from './process.mjs';

async function run() {
  const number = (usual) => ({ type: 'string', default: String(usual) });
  const { values } = parseArgs({ options: { events: number(2_000), kills: number(5), failing: number(0.3), minutes: number(10) } });
  const { chaos } = await import('../tests/support/chaos.mjs');
  const start = Date.now();
  const found = await chaos({ ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)])), say });
  say(`${found.accepted} accepted, ${found.arrived} arrived, ${found.messages} messages, ${found.refused} of them refused by the destination, ${found.kills} kills, ${seconds(start)}`);
  for (const [what, list] of Object.entries(found.wrong)) say(`${what}: ${list.length}${list.length ? ` (${list.slice(0, 5).join(', ')} …)` : ''}`);
  if (Object.values(found.wrong).some((list) => list.length > 0)) throw new Error('not every accepted event arrived and is recorded once');
}

await main(import.meta.url, run);
