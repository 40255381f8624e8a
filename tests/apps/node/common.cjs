'use strict';
// What the programs of this folder share: planted objects, and a second server, past every
// framework, that tells how the process is.
//
//   up(server)        when the server listens: prints `up PORT TOLD_AT PID`
//   GET TOLD_AT/gap   the longest time in which the event loop stood still since the last asking
//   GET TOLD_AT/spawn runs a child process of the program's own
const { spawn } = require('child_process');
const http = require('http');

const PLANTED = Number(process.env.PLANTED || 4000);

class Planted {
  constructor(i) {
    this.i = i;
    this.name = `planted ${i}`;
  }
}

globalThis.planted = Array.from({ length: PLANTED }, (_, i) => new Planted(i));

let last = performance.now();
let gap = 0;
setInterval(() => {
  const now = performance.now();
  gap = Math.max(gap, now - last);
  last = now;
}, 1).unref();

function spawned(response) {
  const began = performance.now();
  spawn('/bin/sh', ['-c', 'exit 7']).on('exit', (code) => {
    response.end(JSON.stringify({ code, millis: performance.now() - began }));
  });
}

function tell(request, response) {
  if (request.url === '/spawn') return spawned(response);
  response.end(JSON.stringify({ gap, rss: process.memoryUsage().rss }));
  gap = 0;
}

/** Prints where the program answers, once it does. */
function up(port) {
  // In a cluster's worker the primary would listen, and share the port.
  const told = http.createServer(tell);
  told.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
    console.log(`up ${port} ${told.address().port} ${process.pid}`);
  });
}

/** Work of a request: garbage, a cache that turns over, code that is compiled anew. */
const recent = new Map();
let served = 0;
function work() {
  const n = served++;
  recent.set(n, Array.from({ length: 50 }, (_, i) => ({ i, text: `row ${n} ${i}` })));
  if (recent.size > 100) recent.delete(recent.keys().next().value);
  const sum = new Function('a', `return a + ${n % 200}`)(n);
  return { n, sum };
}

module.exports = { up, work };
