// A client of the management API, whose good calls go through the one that the project publishes.
import { patchbay } from '../../clients/typescript/src/index.ts';

/** `{api, ok}`, both `(method, path, body, options)`: the whole reply, or the body of one that must be a success. */
export function client(origin, token) {
  async function api(method, path, body, { headers = {}, as = token } = {}) {
    const response = await fetch(new URL(path, origin), {
      method,
      headers: { ...(as && { authorization: `Bearer ${as}` }), ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      body: typeof body === 'string' || body === undefined ? body : JSON.stringify(body),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes, body: parsed(bytes) };
  }

  // A test that waits for something to pass does so itself.
  const typed = patchbay({ baseUrl: origin, token, retry: { tries: 0 } });

  async function ok(method, path, body) {
    const { data, error, response } = await typed.request(method.toLowerCase(), path, { body });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${JSON.stringify(error)}`);
    return data;
  }

  return { api, ok };
}

function parsed(bytes) {
  try { return JSON.parse(bytes); } catch { return undefined; }
}
