// Express, ES modules and a native database in one program.
import { createRequire } from 'node:module';
import express from 'express';
import { up, work } from './common.cjs';

const Database = createRequire(import.meta.url)(process.env.DRIVER || 'libsql');
const database = new Database(':memory:');
database.exec('CREATE TABLE rows (n INTEGER PRIMARY KEY, text TEXT)');
const insert = database.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?)');

const app = express();
app.get('/', (request, response) => {
  const { n } = work();
  insert.run(n % 1000, `text ${n}`);
  response.json({ n });
});
const server = app.listen(0, '127.0.0.1', () => up(server.address().port));
