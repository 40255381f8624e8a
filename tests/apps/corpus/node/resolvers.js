// Calls wait for an answer that never comes: their resolve functions stay in a table.
// truth: {"verdict": "leaking", "holder": "waiting", "kind": "Map", "class": "{resolve, reject}", "per_unit": 1}
'use strict';
const { serve } = require('./harness');

const waiting = new Map();

function call(id) {
  return new Promise((resolve, reject) => {
    waiting.set(`call-${id}`, { id, resolve, reject });
  });
}

serve((id) => {
  call(id).then(() => waiting.delete(id));
});
