// The floor: what any Worker costs.
export default {
  fetch: () => new Response('ok'),
};
