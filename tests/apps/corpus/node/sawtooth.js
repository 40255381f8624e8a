// A buffer that fills and is flushed: fuller at each snapshot, but never with the same rows.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

class Row {
  constructor(id) {
    this.text = `row ${id}`;
  }
}

const buffer = [];
let flushed = 0;

serve((id) => {
  if (id % 90 === 0) flushed += buffer.splice(0).length;
  buffer.push(new Row(id));
});
