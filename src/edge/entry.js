// The Worker's entry: passes every event to the wasm, and answers where the wasm cannot.
//
// A Rust panic traps. The trap surfaces in a microtask, as an `error` event of the isolate: the promise
// of the request that caused it never settles, nor do those of the requests beside it, whose state is
// lost with the instance. So each event's promise is kept here and rejected then. The generated module
// makes a new instance for the next event.
import Wasm from '../../build/index.js';
import { share } from './share.js';
import { wake } from './wake.js';

// For the wasm, which finds them by name.
globalThis.patchbayShare = share;
globalThis.patchbayWake = wake;

const running = new Set();
let dead = false;

addEventListener('error', ({ error }) => {
  if (!(error instanceof WebAssembly.RuntimeError)) return;
  dead = true;
  const cause = causeOf(error);
  for (const fail of running) fail(cause);
});

/** The panic hook's words, once; a trap without a panic (out of memory, say) has the runtime's. */
function causeOf(error) {
  const fault = globalThis.patchbayFault;
  delete globalThis.patchbayFault;
  return fault ? new Error(fault) : error;
}

/** What `job` promises, or a rejection as soon as the instance has died. */
function settled(job) {
  return new Promise((resolve, reject) => {
    running.add(reject);
    const over = (settle) => (value) => { running.delete(reject); settle(value); };
    job().then(over(resolve), over((error) => {
      // A trap before the first wait comes back to its caller instead.
      if (error instanceof WebAssembly.RuntimeError) dispatchEvent(new ErrorEvent('error', { error }));
      reject(error);
    }));
  });
}

/**
 * One event, given to the wasm. The generated class would be made for each event behind two proxies, which costs more
 * than all that an empty route does; what they are for is to make a new instance after a death, so that is when one is
 * made.
 */
async function run(kind, event, env, ctx) {
  if (dead) {
    dead = false;
    new Wasm(ctx, env);
  }
  return Wasm.prototype[kind].call({ env, ctx }, event);
}

/** One line of log about `error`; gives the id that it stands under. */
function report(job, error) {
  const trace = crypto.randomUUID().replaceAll('-', '');
  console.log(JSON.stringify({ level: 'error', job, trace_id: trace, code: 'INTERNAL', message: error.message ?? `${error}` }));
  return trace;
}

function problem(trace, method) {
  const body = {
    type: '/problems/INTERNAL',
    title: 'Internal fault',
    status: 500,
    detail: 'an internal fault; the log has the cause under this trace id',
    code: 'INTERNAL',
    trace_id: trace,
  };
  const headers = { 'content-type': 'application/problem+json', 'x-trace-id': trace, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
  return new Response(method === 'HEAD' ? null : JSON.stringify(body), { status: 500, headers });
}

async function background(kind, event, env, ctx) {
  try {
    await settled(() => run(kind, event, env, ctx));
  } catch (error) {
    report(kind, error);
    // The platform then counts it as failed, and delivers a queue's batch again.
    throw error;
  }
}

export default {
  async fetch(request, env, ctx) {
    try {
      return await settled(() => run('fetch', request, env, ctx));
    } catch (error) {
      return problem(report('request', error), request.method);
    }
  },
  queue: (batch, env, ctx) => background('queue', batch, env, ctx),
  scheduled: (event, env, ctx) => background('scheduled', event, env, ctx),
};
