// Wake-up calls. The first goes out at once; those that come within a moment after it go together, in one call of the
// queue. They are hints: what is lost with an isolate is found by the sweep.
import { waitUntil } from 'cloudflare:workers';

/** How long calls are collected, in ms: a tenth of what the queue's consumer waits anyway. */
const MOMENT = 100;
/** Most messages that the queue takes in one call. */
const MOST = 100;

let collectingUntil = 0;
let ids = [];

/** Sends a wake-up call for `id`, now or within a moment. */
export function wake(queue, id) {
  const now = Date.now();
  if (now < collectingUntil) {
    ids.push(id);
    return ids.length < MOST ? undefined : send(queue);
  }
  collectingUntil = now + MOMENT;
  waitUntil(afterwards(queue));
  return queue.send(id, { contentType: 'text' });
}

async function afterwards(queue) {
  await new Promise((resolve) => { setTimeout(resolve, MOMENT); });
  collectingUntil = 0;
  try {
    await send(queue);
  } catch (error) {
    console.log(JSON.stringify({ level: 'warn', job: 'wake', message: error.message ?? `${error}` }));
  }
}

async function send(queue) {
  const collected = ids.splice(0, MOST);
  if (collected.length > 0) await queue.sendBatch(collected.map((body) => ({ body, contentType: 'text' })));
}
