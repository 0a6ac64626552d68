// Stands between a contender and its database while rows are counted, never while time is taken: what D1 says of each
// statement in `meta` is added up. On its own socket it gives the sum and begins anew.
import { WorkerEntrypoint } from 'cloudflare:workers';

let sum;
const zero = () => { sum = { roundTrips: 0, statements: 0, rowsWritten: 0, rowsRead: 0 }; };
zero();

export class Database extends WorkerEntrypoint {
  async fetch(request) {
    const reply = await this.env.NEXT.fetch(request);
    const results = [await reply.clone().json()].flat();
    sum.roundTrips += 1;
    sum.statements += results.length;
    for (const { meta } of results) {
      sum.rowsWritten += meta?.rows_written ?? 0;
      sum.rowsRead += meta?.rows_read ?? 0;
    }
    return reply;
  }
}

export default {
  fetch() {
    const reply = Response.json(sum);
    zero();
    return reply;
  },
};
