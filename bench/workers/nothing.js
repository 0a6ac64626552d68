// Takes the place of a service that no measured request needs.
export default {
  fetch: () => new Response(null, { status: 204 }),
};
