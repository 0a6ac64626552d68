// The part of Slack's Web API that the hub uses, as strict as the real one: a wrong call is answered as Slack does, with
// an error in a 200. What a method takes stands in slack-methods.json, with its source.
import methods from './slack-methods.json' with { type: 'json' };
import { startServer } from './server.mjs';

export const BOT = { user: 'U0BOT00001', id: 'B0BOT00001' };
const MAX_TEXT = 40_000;
const ERRORS = { string: 'invalid_arguments', ts: 'invalid_ts', list: 'invalid_blocks', object: 'invalid_arguments', boolean: 'invalid_arguments', number: 'invalid_limit' };

const is = {
  string: (value) => typeof value === 'string' && value !== '',
  ts: (value) => typeof value === 'string' && /^\d{10}\.\d{6}$/.test(value),
  list: Array.isArray,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  boolean: (value) => typeof value === 'boolean' || value === 'true' || value === 'false',
  number: (value) => Number.isInteger(Number(value)) && Number(value) > 0,
};

/** `lists` maps the Lists of a workspace whose plan has them to the id of their text column. */
export async function startFakeSlack({ token, lists = {}, paid = true }) {
  const state = { token, lists, paid, channels: new Map(), users: new Map(), triggers: new Set(), views: [], items: [], ephemeral: [], calls: [], responses: new Map(), clock: Math.floor(Date.now() / 1_000) };
  const server = await startServer((request) => answer(state, request));

  return {
    ...server,
    url: `${server.url}/api`,
    addUser: (id, facts = {}) => void state.users.set(id, { id, name: id.toLowerCase(), deleted: false, is_bot: false, is_restricted: false, is_ultra_restricted: false, ...facts }),
    /** `member: false`: the app was not invited. */
    addChannel: (id, { member = true } = {}) => void state.channels.set(id, { id, member, messages: [] }),
    /** A message of a person's; gives its `ts`. */
    say(channel, user, text, thread_ts) {
      const message = { type: 'message', user, text, ts: next(state), ...(thread_ts && { thread_ts }) };
      state.channels.get(channel).messages.push(message);
      return message.ts;
    },
    /** What the app wrote in a channel, oldest first. */
    written: (channel) => (state.channels.get(channel)?.messages ?? []).filter((one) => one.bot_id === BOT.id),
    reactions: (channel, ts) => find(state, channel, ts)?.reactions ?? [],
    remove(channel, ts) {
      const found = state.channels.get(channel);
      found.messages = found.messages.filter((one) => one.ts !== ts);
    },
    views: state.views,
    items: state.items,
    ephemeral: state.ephemeral,
    /** The calls in order, `method` and arguments, with what they were answered. */
    calls: state.calls,
    writes: () => state.calls.filter(({ method, reply }) => methods[method]?.verb !== 'GET' && reply.ok).map(({ method }) => method),
    /** A trigger that opens one view. */
    trigger(id) { state.triggers.add(id); return id; },
    /** An address that takes five answers. */
    responseUrl(id) { state.responses.set(id, []); return `${server.url}/actions/${id}`; },
    responses: (id) => state.responses.get(id),
  };
}

function answer(state, request) {
  if (request.path.startsWith('/actions/')) return respond(state, request);
  const method = request.path.replace(/^\/api\//, '');
  const call = { method, args: undefined, reply: undefined };
  state.calls.push(call);
  call.reply = handle(state, request, method, call);
  return { status: 200, body: call.reply };
}

function handle(state, request, method, call) {
  const known = methods[method];
  if (!known?.verb) return no('unknown_method');
  if (request.method !== known.verb) return no('method_not_supported');
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  if (!bearer) return no('not_authed');
  if (bearer !== state.token) return no('invalid_auth');
  const read = known.verb === 'GET' ? fromQuery(request) : fromBody(request);
  if (read.error) return no(read.error);
  call.args = read.args;
  const missing = known.required.find((name) => read.args[name] === undefined);
  if (missing) return no(missing === 'channel' ? 'channel_not_found' : 'invalid_arguments', `missing required field: ${missing}`);
  for (const [name, value] of Object.entries(read.args)) {
    // The real one overlooks what it does not know; a hub that sends it is mistaken all the same.
    if (!known.arguments[name]) return no('invalid_arguments', `unknown argument: ${name}`);
    if (!is[known.arguments[name]](value)) return no(ERRORS[known.arguments[name]], `${name} is no ${known.arguments[name]}`);
  }
  return METHODS[method](state, read.args);
}

const fromQuery = ({ query, body }) => (body.length > 0 ? { error: 'invalid_arguments' } : { args: Object.fromEntries(query) });

function fromBody({ headers, body, query }) {
  if ([...query].length > 0) return { error: 'invalid_arguments' };
  if (!/^application\/json\b/.test(headers['content-type'] ?? '')) return { error: 'invalid_post_type' };
  try {
    const args = JSON.parse(body);
    return is.object(args) ? { args } : { error: 'json_not_object' };
  } catch {
    return { error: 'invalid_json' };
  }
}

const METHODS = {
  'chat.postMessage'(state, args) {
    const channel = open(state, args.channel);
    if (channel.error) return no(channel.error);
    const refused = complaintAboutContent(args);
    if (refused) return refused;
    if (args.thread_ts && !channel.messages.some(({ ts }) => ts === args.thread_ts)) return no('thread_not_found');
    if (args.metadata && (!is.string(args.metadata.event_type) || !is.object(args.metadata.event_payload))) return no('invalid_metadata_format');
    const { text = '', blocks, thread_ts, metadata } = args;
    const message = { type: 'message', user: BOT.user, bot_id: BOT.id, text, ts: next(state), ...(blocks && { blocks }), ...(thread_ts && { thread_ts }), ...(metadata && { metadata }) };
    channel.messages.push(message);
    return { ok: true, channel: channel.id, ts: message.ts, message };
  },
  'chat.update'(state, args) {
    const channel = open(state, args.channel);
    if (channel.error) return no(channel.error);
    const message = find(state, channel.id, args.ts);
    if (!message) return no('message_not_found');
    if (message.bot_id !== BOT.id) return no('cant_update_message');
    const refused = complaintAboutContent(args);
    if (refused) return refused;
    Object.assign(message, { text: args.text, edited: { user: BOT.user, ts: next(state) } });
    return { ok: true, channel: channel.id, ts: message.ts, text: message.text };
  },
  'chat.postEphemeral'(state, args) {
    const channel = open(state, args.channel);
    if (channel.error) return no(channel.error);
    if (!state.users.has(args.user)) return no('user_not_in_channel');
    const refused = complaintAboutContent(args);
    if (refused) return refused;
    state.ephemeral.push({ channel: channel.id, user: args.user, text: args.text });
    return { ok: true, message_ts: next(state) };
  },
  'reactions.add'(state, { channel, timestamp, name }) {
    const found = open(state, channel);
    if (found.error) return no(found.error);
    const message = find(state, found.id, timestamp);
    if (!message) return no('message_not_found');
    if (!/^[a-z0-9_+'-]+$/.test(name)) return no('invalid_name');
    message.reactions ??= [];
    if (message.reactions.includes(name)) return no('already_reacted');
    message.reactions.push(name);
    return { ok: true };
  },
  'conversations.replies'(state, { channel, ts, ...rest }) {
    const found = open(state, channel);
    if (found.error) return no(found.error);
    const thread = found.messages.filter((one) => one.ts === ts || one.thread_ts === ts);
    // The first message of a thread comes along whatever its age.
    return thread.length === 0 ? no('thread_not_found') : page(thread.filter((one) => one.ts === ts || isSince(one, rest)), rest);
  },
  'conversations.history'(state, { channel, ...rest }) {
    // A person's id names the direct message only where one writes to it.
    if (channel.startsWith('U')) return no('channel_not_found');
    const found = open(state, channel);
    if (found.error) return no(found.error);
    return page(found.messages.filter((one) => (!one.thread_ts || one.thread_ts === one.ts) && isSince(one, rest)).toReversed(), rest);
  },
  'users.info'(state, { user }) {
    const found = state.users.get(user);
    return found ? { ok: true, user: found } : no('user_not_found');
  },
  'slackLists.items.create'(state, { list_id, initial_fields = [] }) {
    if (!state.paid) return no('access_denied');
    const column = state.lists[list_id];
    if (!column) return no('list_not_found');
    for (const field of initial_fields) {
      if (field.column_id !== column) return no('invalid_column_id');
      const [block] = field.rich_text ?? [];
      if (block?.type !== 'rich_text' || !block.elements.every(({ type, elements }) => type === 'rich_text_section' && elements.every((one) => one.type === 'text' && is.string(one.text)))) return no('invalid_input_type');
    }
    const item = { id: `Rec${state.items.length + 1}`, list_id, fields: initial_fields };
    state.items.push(item);
    return { ok: true, item };
  },
  'views.open'(state, { trigger_id, view }) {
    if (!trigger_id) return no('invalid_arguments');
    if (!state.triggers.delete(trigger_id)) return no('exchanged_trigger_id');
    if (view.type !== 'modal' || view.title?.type !== 'plain_text' || !(view.title.text.length <= 24)) return no('invalid_arguments');
    if (!is.list(view.blocks) || view.blocks.length > 100) return no('view_too_large');
    if ((view.private_metadata ?? '').length > 3_000) return no('invalid_arguments');
    const opened = { id: `V${state.views.length + 1}`, ...view };
    state.views.push(opened);
    return { ok: true, view: opened };
  },
};

/** A channel that the app is in; a person's id opens the direct message with them. */
function open(state, id) {
  if (/^[UW]/.test(id)) {
    if (!state.users.has(id)) return { error: 'user_not_found' };
    const direct = id.replace(/^./, 'D');
    if (!state.channels.has(direct)) state.channels.set(direct, { id: direct, member: true, messages: [] });
    return state.channels.get(direct);
  }
  const channel = state.channels.get(id);
  if (!channel) return { error: 'channel_not_found' };
  return channel.member ? channel : { error: 'not_in_channel' };
}

function complaintAboutContent({ text, blocks }) {
  if (text === undefined && blocks === undefined) return no('no_text');
  if ((text ?? '').length > MAX_TEXT) return no('msg_too_long');
  if (blocks && blocks.length > 50) return no('invalid_blocks');
  const section = blocks?.find((block) => block.type === 'section' && (block.text?.text.length ?? 0) > 3_000);
  if (section) return no('invalid_blocks');
  // What would call a whole channel must have been escaped.
  if (/<!(channel|here|everyone)/.test(text ?? '')) throw new Error(`a broadcast got through: ${text}`);
}

function page(messages, { limit = '100', cursor = '', include_all_metadata }) {
  const from = cursor === '' ? 0 : Number(Buffer.from(cursor, 'base64'));
  const size = Math.min(Number(limit), 1_000);
  const shown = messages.slice(from, from + size).map(({ metadata, ...message }) => (include_all_metadata === 'true' && metadata ? { ...message, metadata } : message));
  const more = from + size < messages.length;
  return { ok: true, messages: shown, has_more: more, response_metadata: { next_cursor: more ? Buffer.from(String(from + size)).toString('base64') : '' } };
}

const isSince = ({ ts }, { oldest = '0' }) => Number(ts) > Number(oldest);

function respond(state, { path, method, headers, body }) {
  const taken = state.responses.get(path.slice('/actions/'.length));
  if (!taken || method !== 'POST') return { status: 404, body: 'no_service' };
  if (taken.length === 5) return { status: 404, body: 'used_url' };
  if (!/^application\/json\b/.test(headers['content-type'] ?? '')) return { status: 400, body: 'invalid_payload' };
  const message = JSON.parse(body);
  if (!is.string(message.text) && !is.list(message.blocks)) return { status: 400, body: 'no_text' };
  taken.push(message);
  return { status: 200, body: 'ok' };
}

const find = (state, channel, ts) => state.channels.get(channel)?.messages.find((one) => one.ts === ts);
const next = (state) => `${state.clock += 1}.000100`;
const no = (error, message) => ({ ok: false, error, ...(message && { response_metadata: { messages: [`[ERROR] ${message}`] } }) });
