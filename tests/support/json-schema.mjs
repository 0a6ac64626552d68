// The keywords of JSON Schema that Atlassian's schema of documents uses; no others.

/** What does not fit, as a path, or nothing. `root` holds the `definitions`. */
export function misfit(root, schema, value, at = '') {
  if (schema.$ref) return misfit(root, root.definitions[schema.$ref.split('/').at(-1)], value, at);
  for (const one of schema.allOf ?? []) {
    const wrong = misfit(root, one, value, at);
    if (wrong) return wrong;
  }
  if (schema.anyOf && !schema.anyOf.some((one) => !misfit(root, one, value, at))) return `${at}: none of the kinds that may stand here (${value?.type ?? typeof value})`;
  if (schema.enum && !schema.enum.includes(value)) return `${at}: ${JSON.stringify(value)}`;
  if (schema.type && !is(schema.type, value)) return `${at}: no ${schema.type}`;
  if (typeof value === 'string' && value.length < (schema.minLength ?? 0)) return `${at}: too short`;
  if (typeof value === 'number' && (value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity))) return `${at}: out of range`;
  if (Array.isArray(value)) return list(root, schema, value, at);
  if (typeof value === 'object' && value !== null) return object(root, schema, value, at);
}

function is(type, value) {
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}

function list(root, { items, minItems = 0, maxItems = Infinity }, value, at) {
  if (value.length < minItems || value.length > maxItems) return `${at}: ${value.length} elements`;
  for (const [n, one] of items ? value.entries() : []) {
    const wrong = misfit(root, items, one, `${at}/${n}`);
    if (wrong) return wrong;
  }
}

function object(root, { properties = {}, required = [], additionalProperties }, value, at) {
  const missing = required.find((name) => !(name in value));
  if (missing) return `${at}/${missing}: missing`;
  for (const [name, one] of Object.entries(value)) {
    if (!properties[name] && additionalProperties === false) return `${at}/${name}: not allowed`;
    const wrong = properties[name] && misfit(root, properties[name], one, `${at}/${name}`);
    if (wrong) return wrong;
  }
}
