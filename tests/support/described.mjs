// Requests held against what their service's published reference says of the operation: its path, its parameters with their
// types, its body. What the reference does not know is refused, as a strict service would.
import { readFileSync } from 'node:fs';

const services = JSON.parse(readFileSync(new URL('../data/descriptions.json', import.meta.url)));

const TEXTS = {
  string: /^[^]*$/,
  integer: /^\d+$/,
  boolean: /^(true|false)$/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
};

/** Throws, with every difference, unless the request is one of the service's operations; gives the operation's name. */
export function described(service, { method, path, query, headers, body }) {
  const { operations, schemas } = services[service];
  const fits = ([, o]) => o.method === method && new RegExp(`^${o.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path);
  const [name, operation] = Object.entries(operations).find(fits) ?? [];
  if (!operation) throw new Error(`${service} has no ${method} ${path}`);
  const wrong = [];
  for (const [key, value] of query) {
    const type = operation.query?.[key];
    if (!type) wrong.push(`no parameter ${key}`);
    else if (Array.isArray(type) ? !type.includes(value) : !TEXTS[type].test(value)) wrong.push(`${key}=${value} is no ${type}`);
    if (query.getAll(key).length > 1) wrong.push(`${key} twice`);
  }
  if (!operation.body && body.length > 0) wrong.push('a body');
  if (operation.body) {
    if (!/^application\/json(;|$)/.test(headers['content-type'] ?? '')) wrong.push(`content-type ${headers['content-type']}`);
    check(JSON.parse(body), operation.body, '', schemas, wrong);
  }
  if (wrong.length > 0) throw new Error(`${service}, ${name}: ${wrong.join('; ')}`);
  return name;
}

/** A part of JSON Schema, as much as the descriptions use. */
function check(value, schema, at, schemas, wrong) {
  if (schema.$ref) return check(value, schemas[schema.$ref], at, schemas, wrong);
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  if (schema.type && schema.type !== type) return void wrong.push(`${at} is ${type}, not ${schema.type}`);
  if ('const' in schema && schema.const !== value) wrong.push(`${at} is not ${schema.const}`);
  if (schema.enum && !schema.enum.includes(value)) wrong.push(`${at} is ${value}`);
  if (schema.maxLength && value.length > schema.maxLength) wrong.push(`${at} is too long`);
  if (type === 'array' && schema.items) value.forEach((item, index) => check(item, schema.items, `${at}/${index}`, schemas, wrong));
  if (type === 'object') {
    for (const name of schema.required ?? []) if (!(name in value)) wrong.push(`${at}/${name} is missing`);
    for (const [name, member] of Object.entries(value)) {
      const own = schema.properties?.[name];
      if (own) check(member, own, `${at}/${name}`, schemas, wrong);
      else if (schema.properties && schema.open !== true) wrong.push(`${at}/${name} is not known`);
    }
  }
}
