// A typed client of Patchbay's HTTP API. Paths, parameters and replies come from the hub's own OpenAPI document.
import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './schema.d.ts';

export type { components, paths };

/** An error reply (RFC 9457); compare its `code`. */
export type Problem = components['schemas']['Problem'];

export interface Options {
  /** Where the hub is, e.g. `https://hub.example.com`. */
  baseUrl: string;
  /** The admin token, or a key's. */
  token?: string;
  /** What sends requests; the runtime's own `fetch` by default. */
  fetch?: (request: Request) => Promise<Response>;
  /** Tries after the first, and milliseconds before the second of all. */
  retry?: { tries?: number; firstDelayMs?: number };
}

/**
 * The codes that can pass by themselves: the same request can succeed a little later. `IDEMPOTENCY_IN_PROGRESS` is what
 * the second try meets whose first one's reply was lost while the hub is still at work on it.
 */
export const RETRYABLE: ReadonlySet<string> =
  new Set(['RATE_LIMIT_EXCEEDED', 'TIMEOUT_ERROR', 'TEMPORARY_ERROR', 'IDEMPOTENCY_IN_PROGRESS']);

/**
 * A client with one method for each HTTP method: `hub.GET('/api/v1/events', { params: { query: { limit: 10 } } })`
 * gives `{ data, error, response }`. A POST gets an `Idempotency-Key` if it has none, so that a repeated one acts once.
 * What fails with a code of `RETRYABLE`, or without any reply, is tried again.
 */
export function patchbay({ baseUrl, token, fetch: send = fetch, retry = {} }: Options): Client<paths> {
  return createClient<paths>({
    baseUrl,
    headers: token ? { authorization: `Bearer ${token}` } : {},
    fetch: (request: Request) => sendWithRetry(request, send, retry),
  });
}

async function sendWithRetry(
  request: Request,
  send: (request: Request) => Promise<Response>,
  { tries = 3, firstDelayMs = 1000 }: { tries?: number; firstDelayMs?: number },
): Promise<Response> {
  if (request.method === 'POST' && !request.headers.has('idempotency-key')) {
    request.headers.set('idempotency-key', crypto.randomUUID());
  }
  for (let attempt = 0, delay = firstDelayMs; ; attempt += 1, delay *= 2 * (0.8 + Math.random() * 0.4)) {
    const last = attempt >= tries;
    // A request's body can be read once: each try but the last has a copy.
    const reply = await send(last ? request : request.clone()).catch((error: unknown) => {
      if (last || request.signal.aborted) throw error;
      return undefined;
    });
    if (reply && (last || !await isRetryable(reply))) return reply;
    // What the hub asks for is the least that makes sense: a call that is under way may take longer than that.
    await pause(Math.max(waitOf(reply) ?? 0, delay), request.signal);
  }
}

async function isRetryable(reply: Response): Promise<boolean> {
  if (!reply.headers.get('content-type')?.startsWith('application/problem+json')) return false;
  const problem = await reply.clone().json().catch(() => undefined) as Problem | undefined;
  return RETRYABLE.has(problem?.code ?? '');
}

/** Milliseconds that the hub asks to wait. */
function waitOf(reply: Response | undefined): number | undefined {
  const seconds = Number.parseInt(reply?.headers.get('retry-after') ?? '', 10);
  return Number.isNaN(seconds) ? undefined : seconds * 1000;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/** All items of a list, page by page: `for await (const event of pages((cursor) => hub.GET(…)))`. */
export async function* pages<Item>(
  page: (cursor: string | undefined) => Promise<{ data?: { data: Item[]; next_cursor: string | null }; error?: unknown }>,
): AsyncGenerator<Item> {
  let cursor: string | undefined;
  do {
    const { data, error } = await page(cursor);
    if (!data) throw error;
    yield* data.data;
    cursor = data.next_cursor ?? undefined;
  } while (cursor);
}
