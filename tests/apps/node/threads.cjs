'use strict';
// Worker threads that compute and answer, while the main thread serves.
const { Worker, isMainThread, parentPort } = require('worker_threads');

if (isMainThread) {
  const { up, work } = require('./common.cjs');
  const waiting = new Map();
  const workers = Array.from({ length: 3 }, () => new Worker(__filename));
  for (const worker of workers) {
    worker.on('message', ({ n, sum }) => {
      waiting.get(n).end(JSON.stringify({ n, sum }));
      waiting.delete(n);
    });
  }
  require('http').createServer((request, response) => {
    const { n } = work();
    waiting.set(n, response);
    workers[n % workers.length].postMessage(n);
  }).listen(0, '127.0.0.1', function () { up(this.address().port); });
} else {
  const kept = [];
  parentPort.on('message', (n) => {
    kept.push({ n, rows: Array.from({ length: 20 }, (_, i) => ({ i })) });
    if (kept.length > 200) kept.shift();
    parentPort.postMessage({ n, sum: kept.reduce((sum, one) => sum + one.rows.length, 0) });
  });
}
