'use strict';
// Express, whose forked children come to grief: the file WAY says how, for one child each time.
const express = require('express');
const fs = require('fs');
const v8 = require('v8');
const { up, work } = require('./common.cjs');

const write = v8.writeHeapSnapshot;
const self = () => Number(fs.readlinkSync('/proc/self'));
const ways = {
  // Nobody writes to a FIFO: like a lock that a thread held which the child does not have.
  hangs: () => fs.readFileSync(process.env.FIFO),
  crashes: () => process.kill(self(), 'SIGSEGV'),
  grows: () => {
    for (const all = []; ;) {
      all.push(Buffer.alloc(1 << 20, 1));
      for (const began = performance.now(); performance.now() < began + 2;);
    }
  },
};

function told() {
  try {
    const way = fs.readFileSync(process.env.WAY, 'utf8');
    fs.unlinkSync(process.env.WAY);
    return way;
  } catch {
    return '';
  }
}

v8.writeHeapSnapshot = (file) => (ways[told()] || write)(file);

const app = express();
app.get('/', (request, response) => response.json(work()));
const server = app.listen(0, '127.0.0.1', () => up(server.address().port));
