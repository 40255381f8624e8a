'use strict';
// Thousands of timers and of open sockets.
const net = require('net');
const { up, work } = require('./common.cjs');

const TIMERS = 5000;
const SOCKETS = Number(process.env.SOCKETS || 1000);

for (let i = 0; i < TIMERS; i++) setInterval(() => work.last = i, 500 + (i % 1000)).unref();
const sockets = [];
const listener = net.createServer((socket) => sockets.push(socket));
listener.listen(0, '127.0.0.1', () => {
  let open = 0;
  const connected = () => ++open === SOCKETS && serve();
  for (let i = 0; i < SOCKETS; i++) {
    sockets.push(net.connect(listener.address().port, '127.0.0.1', connected));
  }
});

function serve() {
  require('http').createServer((request, response) => response.end(JSON.stringify(work())))
    .listen(0, '127.0.0.1', function () { up(this.address().port); });
}
