// A cache of two generations: when the young one is full it replaces the old one, whole.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

class Entry {
  constructor(id) {
    this.text = `entry ${id}`;
  }
}

let young = new Map();
let old = new Map();

serve((id) => {
  young.set(id, new Entry(id));
  if (young.size >= 60) {
    old = young;
    young = new Map();
  }
  return old.get(id - 60);
});
