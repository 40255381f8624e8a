'use strict';
// A server whose forked children come to grief, each of them, in the way that a request named.
//
//   GET /way/NAME  from now on: `hangs`, `crashes`, or anything else for children that are well
//   GET /          {"pid": its own, "served": requests so far}
const fs = require('fs');
const http = require('http');
const v8 = require('v8');

const write = v8.writeHeapSnapshot;
const self = () => Number(fs.readlinkSync('/proc/self'));
const ways = {
  // Nobody writes to a FIFO: like a lock that a thread held which the child does not have.
  hangs: () => fs.readFileSync(process.env.FIFO),
  crashes: () => process.kill(self(), 'SIGSEGV'),
};
let way = '';
let served = 0;

v8.writeHeapSnapshot = (file) => (ways[way] || write)(file);

http.createServer((request, response) => {
  served++;
  if (request.url.startsWith('/way/')) way = request.url.slice(5);
  response.end(JSON.stringify({ pid: process.pid, served }));
}).listen(Number(process.argv[2]), '127.0.0.1');
