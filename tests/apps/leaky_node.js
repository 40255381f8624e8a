'use strict';
// A small service that leaks on purpose: each GET /leak keeps N objects of class
// LeakedReport in a module-level Map, for ever. Everything else is well behaved.
//
//   node leaky_node.js [PORT [ADDRESS]]      PORT 0 (the default) takes a free one, on loopback
//
//   GET /          ok
//   GET /leak?n=N  keeps N more (1000), answers {"leaked": total}
//   GET /churn?n=N makes N objects and forgets them
//   GET /stats     {"leaked": total, "rss": bytes, "heapUsed": bytes}
//
// Prints one line when it answers: `listening on http://127.0.0.1:PORT pid PID`.
const http = require('http');

/** More objects than this in one request would block the service for seconds. */
const MAX_PER_REQUEST = 200000;

class LeakedReport {
  constructor(number) {
    this.number = number;
    this.title = `report ${number}`;
    this.rows = [number, number + 1, number + 2];
  }
}

const reportCache = new Map();

function leak(count) {
  for (let i = 0; i < count; i++) reportCache.set(reportCache.size, new LeakedReport(reportCache.size));
}

function churn(count) {
  let last = null;
  for (let i = 0; i < count; i++) last = new LeakedReport(i);
  return last;
}

function asked(url) {
  const n = Number(url.searchParams.get('n') || 1000);
  return Number.isInteger(n) && n >= 0 ? Math.min(n, MAX_PER_REQUEST) : 1000;
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const json = (value) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value) + '\n');
  };
  if (url.pathname === '/leak') {
    leak(asked(url));
    json({ leaked: reportCache.size });
  } else if (url.pathname === '/churn') {
    churn(asked(url));
    json({ leaked: reportCache.size });
  } else if (url.pathname === '/stats') {
    const { rss, heapUsed } = process.memoryUsage();
    json({ leaked: reportCache.size, rss, heapUsed });
  } else if (url.pathname === '/') {
    response.end('ok\n');
  } else {
    response.statusCode = 404;
    response.end('not found\n');
  }
});

server.listen(Number(process.argv[2] || process.env.PORT || 0), process.argv[3] || '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port} pid ${process.pid}`);
});
