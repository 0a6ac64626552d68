// One HTTP request, exactly as told: fetch would merge repeated headers and refuse some.
import { request } from 'node:http';

/** `headers` are pairs, so that one may come twice. `body` is text, bytes or, sent piece by piece, an async iterable. */
export function send(url, { method = 'POST', headers = [], body } = {}) {
  return new Promise((resolve, reject) => {
    const pieces = body?.[Symbol.asyncIterator] !== undefined;
    const length = pieces || body === undefined ? [] : [['content-length', Buffer.byteLength(body)]];
    const { host } = new URL(url);
    const outgoing = request(url, { method, headers: [['host', host], ...length, ...headers].flat().map(String) });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => read(incoming).then((reply) => {
      // Whatever has not been sent by now is not wanted.
      if (!outgoing.writableFinished) outgoing.destroy();
      resolve(reply);
    }, reject));
    if (pieces) pour(body, outgoing);
    else outgoing.end(body);
  });
}

async function read(incoming) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return { status: incoming.statusCode, headers: incoming.headers, bytes, body: parsed(bytes) };
}

function parsed(bytes) {
  try { return JSON.parse(bytes); } catch { return bytes.toString(); }
}

async function pour(pieces, outgoing) {
  for await (const piece of pieces) {
    if (outgoing.destroyed) return;
    if (!outgoing.write(piece)) await new Promise((resolve) => outgoing.once('drain', resolve).once('close', resolve));
  }
  outgoing.end();
}
