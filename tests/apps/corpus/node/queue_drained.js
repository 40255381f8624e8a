// A linked queue that is read as fast as it is filled, with a backlog that comes and goes.
// truth: {"verdict": "not leaking", "two": "growing, not sure"}
'use strict';
const { serve } = require('./harness');

class Job {
  constructor(id) {
    this.name = `job ${id}`;
    this.next = null;
  }
}

const queue = { head: new Job('first') };
let tail = queue.head;

serve((id) => {
  tail = tail.next = new Job(id);
  if (id % 100 > 60 + id / 10) while (queue.head.next) queue.head = queue.head.next;
});
