'use strict';
// A database inside the process, by a native addon: DRIVER is better-sqlite3 or libsql.
const Database = require(process.env.DRIVER || 'libsql');
const { up, work } = require('./common.cjs');

const database = new Database(':memory:');
database.exec('CREATE TABLE rows (n INTEGER PRIMARY KEY, text TEXT)');
const insert = database.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?)');
const count = database.prepare('SELECT count(*) AS count FROM rows');

require('http').createServer((request, response) => {
  const { n } = work();
  insert.run(n % 1000, `text ${n}`);
  response.end(JSON.stringify(count.get()));
}).listen(0, '127.0.0.1', function () { up(this.address().port); });
