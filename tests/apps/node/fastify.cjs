'use strict';
// Fastify with a schema, whose serializer is code made at start-up.
const { up, work } = require('./common.cjs');

const app = require('fastify')();
const answer = { type: 'object', properties: { n: { type: 'number' }, sum: { type: 'number' } } };
app.get('/', { schema: { response: { 200: answer } } }, async () => work());
app.listen({ port: 0, host: '127.0.0.1' }).then(() => up(app.server.address().port));
