// A big table that is loaded once, on the first request after the first snapshot.
// truth: {"verdict": "not leaking", "two": "growing, not sure", "warm": 100}
'use strict';
const { serve } = require('./harness');

let table = null;

function load() {
  return new Map(Array.from({ length: 3000 }, (_, i) => [`zip-${i}`, { zip: i, city: `City ${i}` }]));
}

serve((id) => {
  if (id >= 100) table ??= load();
  return table?.get(`zip-${id}`);
});
