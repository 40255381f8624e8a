'use strict';
// A big heap: MEGABYTES of many small or (LARGE=1) of few large objects.
const { up, work } = require('./common.cjs');

const megabytes = Number(process.env.MEGABYTES || 100);
globalThis.bulk = [];
if (process.env.LARGE) {
  // Arrays of numbers on V8's heap, 8 MB each.
  for (let i = 0; i < megabytes / 8; i++) globalThis.bulk.push(new Array(1 << 20).fill(i + 0.5));
} else {
  for (let i = 0; i < megabytes * 8000; i++) globalThis.bulk.push({ i, a: i + 0.5, b: { i } });
}
require('http').createServer((request, response) => response.end(JSON.stringify(work())))
  .listen(0, '127.0.0.1', function () { up(this.address().port); });
