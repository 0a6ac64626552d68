import { Hono } from 'hono';
const app = new Hono();
app.post('/api/integration/github/events', async (c) => {
  const text = await c.req.text();
  const id = c.req.header('x-github-delivery');
  await c.env.DB.prepare('INSERT INTO event (delivery_id, type, received_at, payload) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING').bind(id, 'x', Date.now(), text).run();
  return c.json({ id }, 202);
});
export default app;