// The Worker's entry: passes every event to the wasm, and answers where the wasm cannot.
//
// A Rust panic traps. The trap surfaces in a microtask, as an `error` event of the isolate: the promise
// of the request that caused it never settles, nor do those of the requests beside it, whose state is
// lost with the instance. So each event's promise is kept here and rejected then. The generated module
// makes a new instance for the next event.
import Wasm from '../../build/index.js';
import { pack, unpack } from './pack.js';
import { share } from './share.js';
import { wake } from './wake.js';

// For the wasm, which finds them by name.
globalThis.patchbayPack = pack;
globalThis.patchbayShare = share;
globalThis.patchbayUnpack = unpack;
globalThis.patchbayWake = wake;

// Every step of the wasm's futures asks for a microtask. The runtime's own function is a call out of V8 and back; a
// promise that is settled already does the same within. What is thrown must surface as it would there.
const settledAlready = Promise.resolve();
globalThis.queueMicrotask = (task) => {
  settledAlready.then(() => {
    try {
      task();
    } catch (error) {
      dispatchEvent(new ErrorEvent('error', { error }));
    }
  });
};

const running = new Set();

addEventListener('error', ({ error }) => {
  if (!(error instanceof WebAssembly.RuntimeError)) return;
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
async function settled(job) {
  let fail;
  const death = new Promise((_, reject) => { fail = reject; });
  running.add(fail);
  try {
    return await Promise.race([job(), death]);
  } finally {
    running.delete(fail);
  }
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

async function background(job, run) {
  try {
    await settled(run);
  } catch (error) {
    report(job, error);
    // The platform then counts it as failed, and delivers a queue's batch again.
    throw error;
  }
}

export default {
  async fetch(request, env, ctx) {
    try {
      return await settled(() => new Wasm(ctx, env).fetch(request));
    } catch (error) {
      return problem(report('request', error), request.method);
    }
  },
  queue: (batch, env, ctx) => background('queue', () => new Wasm(ctx, env).queue(batch)),
  scheduled: (event, env, ctx) => background('scheduled', () => new Wasm(ctx, env).scheduled(event)),
};
