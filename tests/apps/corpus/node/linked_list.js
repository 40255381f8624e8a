// A queue that is filled but never read: a chain of nodes, each held by the one before it.
// truth: {"verdict": "leaking", "holder": "queue.head", "kind": "linked list", "class": "Job", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Job {
  constructor(id) {
    this.name = `job ${id}`;
    this.next = null;
  }
}

const queue = { head: new Job('first') };
queue.tail = queue.head;

serve((id) => {
  queue.tail.next = new Job(id);
  queue.tail = queue.tail.next;
});
