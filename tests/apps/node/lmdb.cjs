'use strict';
// A memory-mapped database with a writer thread.
const fs = require('fs');
const os = require('os');
const path = require('path');
const { open } = require('lmdb');
const { up, work } = require('./common.cjs');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lmdb-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
process.on('SIGTERM', () => process.exit(0));
const store = open({ path: folder });
require('http').createServer(async (request, response) => {
  const { n, sum } = work();
  await store.put(n % 500, { n, sum });
  response.end(JSON.stringify(store.get(n % 500)));
}).listen(0, '127.0.0.1', function () { up(this.address().port); });
