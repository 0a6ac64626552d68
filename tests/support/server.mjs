// A small HTTP server on loopback for the fakes: it remembers every request and misbehaves on demand.
import { createServer } from 'node:http';
import { once } from 'node:events';

/**
 * `handle(request)` gives `{status, headers, body}`, where a body that is not text becomes JSON.
 *
 * A fault from `fail()` hits the next `times` requests that its `method` and `path` (a RegExp) fit:
 * `hold` is a promise to wait for first, `answer` a reply to give instead, `drop` closes the
 * connection without one. `act: true` lets the handler do its work before that: acted, reply lost.
 */
export async function startServer(handle) {
  const requests = [];
  const faults = [];
  const errors = [];

  const server = createServer(async (incoming, outgoing) => {
    try {
      const request = await read(incoming);
      requests.push(request);
      const fault = take(faults, request);
      await fault?.hold;
      const acted = fault && !fault.act && (fault.answer || fault.drop) ? undefined : await handle(request);
      if (fault?.drop) return void incoming.socket.destroy();
      request.reply = fault?.answer ?? acted;
      write(outgoing, request.reply);
    } catch (error) {
      // Kept for close(): a fault of the fake must not look like one of the hub.
      errors.push(error);
      outgoing.writeHead(500).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    fail: (fault) => void faults.push({ times: 1, ...fault }),
    /** Takes back the faults that have not been used up. */
    behave: () => void (faults.length = 0),
    close() {
      server.close();
      server.closeAllConnections();
      if (errors.length > 0) throw new AggregateError(errors, `a fake had a fault of its own: ${errors[0].stack}`);
    },
  };
}

async function read(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const { pathname, searchParams } = new URL(incoming.url, 'http://fake');
  return { method: incoming.method, path: pathname, query: searchParams, headers: incoming.headers, body: Buffer.concat(chunks) };
}

function take(faults, { method, path }) {
  const index = faults.findIndex((fault) => (fault.method ?? method) === method && (fault.path?.test(path) ?? true));
  if (index < 0) return undefined;
  const fault = faults[index];
  fault.times -= 1;
  if (fault.times === 0) faults.splice(index, 1);
  return fault;
}

function write(outgoing, { status, headers = {}, body = '' }) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const type = typeof body === 'string' ? 'text/plain' : 'application/json';
  outgoing.writeHead(status, { 'content-type': `${type}; charset=utf-8`, ...headers }).end(status === 204 ? undefined : text);
}
