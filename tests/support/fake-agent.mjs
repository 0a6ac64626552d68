// A program that gets the hub's deliveries, as an agent or a mere subscriber: it checks each with the
// public Standard Webhooks library, keeps it, and answers through the callback when told to.
import { Webhook } from 'standardwebhooks';
import { startServer } from './server.mjs';

/** Faults (`fail`) are those of server.mjs: an `answer` of 500, 410 or a redirect, a `hold` that hangs, a `drop`. */
export async function startFakeAgent() {
  const deliveries = [];
  const rejected = [];
  const agent = { secret: undefined };

  const server = await startServer((request) => {
    const delivery = {
      id: request.headers['webhook-id'],
      timestamp: request.headers['webhook-timestamp'],
      headers: request.headers,
      path: request.path,
    };
    try {
      delivery.message = new Webhook(agent.secret).verify(request.body, request.headers);
    } catch (error) {
      rejected.push({ ...delivery, error });
      return { status: 401, body: { error: error.message } };
    }
    deliveries.push(delivery);
    return { status: 204 };
  });

  return Object.assign(agent, server, {
    /** Where a destination points. */
    url: `${server.url}/inbox`,
    /** What came in and was signed with `agent.secret`, which is what creating the destination showed. */
    deliveries,
    rejected,
    /** The messages about one conversation, oldest first. */
    about: (conversation) => deliveries.filter(({ message }) => message.data?.conversation_id === conversation),
    answer,
  });
}

/**
 * Answers a delivery through the callback that it named. The hub under test may listen on another port
 * than its public URL says, so that `origin` replaces that part of the callback's address.
 */
export async function answer({ message: { data } }, reply, { origin, token = data.callback.token, headers } = {}) {
  const address = new URL(data.callback.url);
  const response = await fetch(new URL(address.pathname, origin ?? address.origin), {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ conversation_id: data.conversation_id, ...reply }),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}
