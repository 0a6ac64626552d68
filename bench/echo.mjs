// What actions of the benchmark call: a server on loopback, beside workerd, that always answers the same 4,096 bytes.
import { once } from 'node:events';
import { createServer } from 'node:http';

const SIZE = 4_096;
const empty = JSON.stringify({ id: 1, text: '' });
const reply = Buffer.from(JSON.stringify({ id: 1, text: 'x'.repeat(SIZE - empty.length) }));

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': reply.length }).end(reply);
});

/** Listens until the process ends. */
export async function startEcho() {
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
}

/** Its address, once it listens. */
export const echoUrl = () => `http://127.0.0.1:${server.address().port}/`;
