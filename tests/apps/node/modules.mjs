// ES modules, top-level await, a dynamic import.
import { createServer } from 'node:http';
import { up, work } from './common.cjs';

const { setTimeout: wait } = await import('node:timers/promises');
await wait(1);
const server = createServer(async (request, response) => {
  await wait(0);
  response.end(JSON.stringify(work()));
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
up(server.address().port);
