// A pool that opens its connections on first use and keeps them.
// truth: {"verdict": "not leaking", "two": "growing, not sure", "warm": 5}
'use strict';
const { serve } = require('./harness');

class Connection {
  constructor(id) {
    this.name = `connection ${id}`;
    this.buffer = new Array(64).fill(id);
  }
}

const pool = [];

serve((id) => {
  if (pool.length < 60) pool.push(new Connection(id));
  return pool[id % pool.length];
});
