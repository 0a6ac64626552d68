// What one writes by hand for one service: verify, parse, one INSERT. Hono for the routes, WebCrypto for the HMAC.
// Generous to itself: the key is imported once per isolate, the payload is bound as the text that was signed, the
// table has no index beside its key, and nobody is told that there is a new event.
import { Hono } from 'hono';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });
const app = new Hono();

let imported;
const keyOf = (secret) => (imported ??= crypto.subtle.importKey('raw', encoder.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']));

function bytesOf(hex) {
  const bytes = new Uint8Array(32);
  for (let i = 0; i < 32; i += 1) bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

app.get('/healthz', (c) => c.json({ status: 'ok' }));

app.post('/api/integration/github/events', async (c) => {
  const signature = /^sha256=([0-9a-f]{64})$/.exec(c.req.header('x-hub-signature-256') ?? '')?.[1];
  if (!signature) return c.json({ error: 'no signature' }, 401);
  const body = await c.req.arrayBuffer();
  const key = await keyOf(c.env.GITHUB_WEBHOOK_SECRET);
  if (!await crypto.subtle.verify('HMAC', key, bytesOf(signature), body)) return c.json({ error: 'wrong signature' }, 401);

  const text = decoder.decode(body);
  const payload = JSON.parse(text);
  const id = c.req.header('x-github-delivery');
  const type = ['github', c.req.header('x-github-event'), payload.action].filter(Boolean).join('.');
  const { meta } = await c.env.DB
    .prepare('INSERT INTO event (delivery_id, type, received_at, payload) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING')
    .bind(id, type, Date.now(), text)
    .run();
  return c.json({ id, duplicate: meta.changes === 0 }, 202);
});

app.get('/api/v1/events', async (c) => {
  if (!await sameText(c.req.header('authorization') ?? '', `Bearer ${c.env.ADMIN_TOKEN}`)) return c.json({ error: 'no token' }, 401);
  const limit = Math.min(Number(c.req.query('limit') ?? 50), 100);
  const { results } = await c.env.DB.prepare('SELECT delivery_id, type, received_at FROM event ORDER BY delivery_id LIMIT ?1').bind(limit).all();
  return c.json({ data: results });
});

/** The usual way to compare secrets in time that does not depend on them: their digests. */
async function sameText(a, b) {
  const [x, y] = await Promise.all([a, b].map((text) => crypto.subtle.digest('SHA-256', encoder.encode(text))));
  return crypto.subtle.timingSafeEqual(x, y);
}

export default app;
