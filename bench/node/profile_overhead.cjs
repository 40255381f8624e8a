'use strict';
// What V8's profilers cost a program that allocates all the time: CPU time of one piece of work
// without and with each, alternating in one process, the median of several rounds.
// Run: node bench/node/profile_overhead.cjs
const { Session } = require('inspector');

const ROUNDS = 7;

class Order { constructor(n) { this.items = [n, n + 1]; this.note = 'n' + n; } }

function work() {
  const kept = [];
  for (let i = 0; i < 400000; i += 1) {
    const order = new Order(i);
    if (i % 50 === 0) kept.push(order);
  }
  return kept;
}

function cpuMillis(run) {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function ask(session, method, params) {
  session.post(method, params, (error) => { if (error) throw new Error(error.message); });
}

function measured(start, end) {
  const session = new Session();
  session.connect();
  if (start) ask(session, ...start);
  const spent = cpuMillis(work);
  if (end) ask(session, end);
  session.disconnect();
  return spent;
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
const ways = {
  without: [],
  'sampling, 32768 bytes': [['HeapProfiler.startSampling', { samplingInterval: 32768 }], 'HeapProfiler.stopSampling'],
  'sampling, 4096 bytes': [['HeapProfiler.startSampling', { samplingInterval: 4096 }], 'HeapProfiler.stopSampling'],
  'node-allocations': [['HeapProfiler.startTrackingHeapObjects', { trackAllocations: true }], null],
};
for (let i = 0; i < 3; i += 1) work();
const found = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [name, way] of Object.entries(ways)) found[name].push(measured(...way));
}
const base = median(found.without);
for (const [name, numbers] of Object.entries(found)) {
  const spent = median(numbers);
  console.log(`${process.version}  ${name.padEnd(22)} ${spent.toFixed(0)} ms of CPU, ${(spent / base).toFixed(2)} x`);
}
