// Makes a destination and reads its last deliveries. HUB and TOKEN come from the environment of whoever runs it.
import { pages, patchbay } from '../src/index.ts';

declare const process: { env: Record<string, string | undefined> };

const hub = patchbay({ baseUrl: process.env.HUB ?? 'http://127.0.0.1:8787', token: process.env.TOKEN ?? '' });

const made = await hub.POST('/api/v1/destinations', {
  body: { name: 'stock desk', url: 'https://stock.example.com/inbox', event_types: ['warehouse.*'] },
});
if (made.error) throw new Error(`${made.error.code}: ${made.error.detail}`);
console.log(`made ${made.data.id}; its secret is shown this once`);

const deliveries = pages((cursor) => hub.GET('/api/v1/deliveries', {
  params: { query: { destination_id: made.data.id, ...(cursor !== undefined && { cursor }) } },
}));
for await (const delivery of deliveries) console.log(delivery.id, delivery.status);
