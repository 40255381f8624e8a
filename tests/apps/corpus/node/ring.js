// A ring of fixed size whose places are overwritten.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

class Sample {
  constructor(id) {
    this.label = `sample ${id}`;
  }
}

const ring = new Array(90).fill(null);

serve((id) => {
  ring[id % ring.length] = new Sample(id);
});
