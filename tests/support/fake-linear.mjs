// The part of Linear's GraphQL API that the hub uses. Every request is checked against Linear's own schema, see
// linear-schema.graphql, and answered in Linear's words.
import { readFileSync } from 'node:fs';
import { buildSchema, graphql, GraphQLError } from 'graphql';
import { startServer } from './server.mjs';

const schema = buildSchema(readFileSync(new URL('./linear-schema.graphql', import.meta.url), 'utf8'));
const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ACTIVITIES = ['thought', 'action', 'elicitation', 'response', 'error'];

/** A workspace with one team, its statuses and labels. `key` is the API key that it takes. */
export async function startFakeLinear({ key }) {
  const team = { id: 'team-1', key: 'DEMO', states: ({ filter }) => nodes(state.states.filter(({ name }) => fits(filter?.name, name))) };
  const state = {
    key, team, calls: [], clock: Date.parse('2026-01-31T12:00:00Z'), activities: [], sessions: new Set(), users: new Map(), comments: [],
    states: ['Todo', 'In Progress', 'Done'].map((name, n) => ({ id: `state-${n}`, name })),
    labels: [{ id: 'label-bug', name: 'Bug', team: null }, { id: 'label-agent', name: 'patchbay', team }, { id: 'label-other', name: 'Bug', team: { id: 'team-2', key: 'OTHER' } }],
    issues: new Map(), made: new Set(),
  };
  const server = await startServer((request) => answer(state, request));

  return {
    ...server,
    addUser: (id, facts = {}) => void state.users.set(id, { id, name: id, active: true, guest: false, app: false, ...facts }),
    addIssue: (id, facts = {}) => void state.issues.set(id, { ...blank(state, id), ...facts }),
    /** A comment of a person's; gives its id. */
    say(issue, user, body, parentId) {
      const made = comment(state, { issueId: issue, body, parentId, user: state.users.get(user) });
      return made.id;
    },
    addSession: (id) => void state.sessions.add(id),
    /** What the hub wrote on an issue, oldest first. */
    written: (issue) => state.comments.filter((one) => one.issueId === issue && one.byKey).map(({ body, parentId }) => ({ body, ...(parentId && { parentId }) })),
    reactions: (id) => (state.comments.find((one) => one.id === id) ?? state.issues.get(id)).reactions.map(({ emoji }) => emoji),
    issue: (id) => state.issues.get(id),
    issues: () => [...state.issues.values()],
    activities: (session) => state.activities.filter((one) => one.agentSessionId === session).map(({ content, ephemeral }) => ({ ...content, ...(ephemeral && { ephemeral }) })),
    /** The mutations that took effect, in order. */
    writes: () => state.calls.filter(({ mutation, errors }) => mutation && !errors).map(({ name }) => name),
    calls: state.calls,
  };
}

async function answer(state, { method, path, headers, body }) {
  if (path !== '/graphql' || method !== 'POST') return { status: 404, body: { errors: [{ message: 'Not found' }] } };
  if (headers.authorization !== state.key) return refusal(401, 'authentication error', 'AUTHENTICATION_ERROR', 'Authentication required, not authenticated');
  if (!/^application\/json\b/.test(headers['content-type'] ?? '')) return refusal(400, 'invalid input', 'BAD_USER_INPUT', 'This operation has been blocked as a potential CSRF');
  const { query, variables } = JSON.parse(body);
  const name = /[{ ](\w+)\(?[^{]*\{/.exec(query.slice(query.indexOf('{')))?.[1];
  const result = await graphql({ schema, source: query, rootValue: root(state), variableValues: variables });
  const misshapen = result.errors?.some(({ extensions }) => !extensions.type);
  const errors = result.errors?.map(({ message, path: at, extensions }) => ({ message, path: at, extensions: { type: 'graphql error', code: 'GRAPHQL_VALIDATION_FAILED', ...extensions } }));
  state.calls.push({ name, query, variables, mutation: query.startsWith('mutation'), errors });
  return { status: misshapen ? 400 : 200, body: JSON.parse(JSON.stringify({ data: result.data, ...(errors && { errors }) })) };
}

const refusal = (status, type, code, message) => ({ status, body: { errors: [{ message, extensions: { type, code, userPresentableMessage: message } }] } });

function no(type, message) {
  throw new GraphQLError(message, { extensions: { type, code: type === 'invalid input' ? 'INPUT_ERROR' : 'FORBIDDEN', userError: true, userPresentableMessage: message } });
}

function root(state) {
  const issue = (id) => state.issues.get(id) ?? [...state.issues.values()].find((one) => one.identifier === id) ?? no('invalid input', 'Entity not found: Issue');
  return {
    viewer: () => state.users.get('u-bot'),
    user: ({ id }) => state.users.get(id) ?? no('invalid input', 'Entity not found: User'),
    issue: ({ id }) => shown(state, issue(id)),
    issues: ({ filter }) => nodes([...state.issues.values()].filter(({ id }) => id === filter.id.eq).map((one) => shown(state, one))),
    comments: ({ filter }) => nodes(state.comments.filter(({ id }) => id === filter.id.eq)),
    teams: ({ filter }) => nodes([state.team].filter(({ key }) => fits(filter.key, key))),
    issueLabels: ({ filter }) => nodes(state.labels.filter((one) => fits(filter.name, one.name) && filter.or.some(({ team }) => (team.null ? !one.team : one.team?.id === team.id.eq)))),
    agentSession: ({ id }) => {
      if (!state.sessions.has(id)) no('invalid input', 'Entity not found: AgentSession');
      return { id, activities: ({ filter }) => nodes(state.activities.filter((one) => one.agentSessionId === id && one.id === filter.id.eq)) };
    },
    commentCreate: ({ input: { issueId, parentId, body, id } }) => {
      fresh(state, id);
      if (!body?.trim()) no('invalid input', 'Comment body cannot be empty');
      const on = issue(issueId);
      if (parentId && !state.comments.some((one) => one.id === parentId && one.issueId === on.id && !one.parentId)) no('invalid input', 'Entity not found: parent comment');
      return { success: true, comment: comment(state, { id, issueId: on.id, parentId, body, user: state.users.get('u-bot'), byKey: true }) };
    },
    commentUpdate: ({ id, input: { body } }) => {
      const found = state.comments.find((one) => one.id === id) ?? no('invalid input', 'Entity not found: Comment');
      if (!found.byKey) no('forbidden', 'You can only edit your own comments');
      found.body = body;
      return { success: true, comment: found };
    },
    reactionCreate: ({ input: { id, commentId, issueId, emoji } }) => {
      fresh(state, id);
      if (!commentId === !issueId) no('invalid input', 'Exactly one entity must be given');
      const to = commentId ? state.comments.find((one) => one.id === commentId) ?? no('invalid input', 'Entity not found: Comment') : issue(issueId);
      to.reactions.push({ id, emoji });
      return { success: true, reaction: { id, emoji } };
    },
    issueCreate: ({ input: { id, teamId, parentId, ...fields } }) => {
      fresh(state, id);
      if (teamId !== state.team.id) no('invalid input', 'Entity not found: Team');
      if (!fields.title) no('invalid input', 'title must be given');
      if (parentId) issue(parentId);
      const made = { ...blank(state, id), ...fields };
      state.issues.set(id, made);
      return { success: true, issue: shown(state, made) };
    },
    issueUpdate: ({ id, input: { stateId, addedLabelIds = [], removedLabelIds = [] } }) => {
      const found = issue(id);
      if (stateId) found.state = state.states.find((one) => one.id === stateId) ?? no('invalid input', 'Entity not found: WorkflowState');
      for (const label of addedLabelIds) if (!state.labels.some((one) => one.id === label)) no('invalid input', 'Entity not found: IssueLabel');
      found.labelIds = [...new Set([...found.labelIds, ...addedLabelIds])].filter((one) => !removedLabelIds.includes(one));
      return { success: true, issue: shown(state, found) };
    },
    agentActivityCreate: ({ input }) => {
      fresh(state, input.id);
      const { agentSessionId, content, ephemeral } = input;
      if (!state.sessions.has(agentSessionId)) no('invalid input', 'Entity not found: AgentSession');
      if (!ACTIVITIES.includes(content.type) || typeof content.body !== 'string' || Object.keys(content).length !== 2) no('invalid input', 'Invalid activity content');
      if (ephemeral && !['thought', 'action'].includes(content.type)) no('invalid input', 'Only thoughts and actions can be ephemeral');
      state.activities.push(input);
      return { success: true, agentActivity: { id: input.id } };
    },
  };
}

/** An id that a client chose must be a UUID of version 4, and can be used once. */
function fresh(state, id) {
  if (!UUID4.test(id)) no('invalid input', 'id must be a UUID');
  if (state.made.has(id)) no('invalid input', 'Entity with this id already exists');
  state.made.add(id);
}

function comment(state, fields) {
  const id = fields.id ?? `comment-${state.comments.length + 1}`;
  state.clock += 1_000;
  const made = { parentId: null, botActor: null, reactions: [], ...fields, id, url: `https://linear.app/demo/c/${id}`, createdAt: new Date(state.clock).toISOString() };
  state.comments.push(made);
  return made;
}

function blank(state, id) {
  const identifier = `DEMO-${state.issues.size + 1}`;
  return { id, identifier, title: 'Printer on fire', description: null, url: `https://linear.app/demo/issue/${identifier}`, priorityLabel: 'No priority', state: state.states[0], team: state.team, assignee: null, reactions: [], labelIds: [] };
}

const shown = (state, issue) => ({
  ...issue,
  labels: () => nodes(state.labels.filter(({ id }) => issue.labelIds.includes(id))),
  comments: ({ first }) => nodes(state.comments.filter(({ issueId }) => issueId === issue.id).toReversed().slice(0, first)),
});
const nodes = (list) => ({ nodes: list });
const fits = (filter, text) => !filter || ('eq' in filter ? text === filter.eq : 'in' in filter ? filter.in.includes(text) : text.toLowerCase() === filter.eqIgnoreCase.toLowerCase());
