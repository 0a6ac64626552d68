// A client of the management API.

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

  async function ok(...request) {
    const reply = await api(...request);
    if (reply.status >= 300) throw new Error(`${request[0]} ${request[1]} answered ${reply.status}: ${reply.bytes}`);
    return reply.body;
  }

  return { api, ok };
}

function parsed(bytes) {
  try { return JSON.parse(bytes); } catch { return undefined; }
}
