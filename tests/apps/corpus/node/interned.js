// Ever new strings, property names and symbols that nobody keeps.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

const counts = {};
let length = 0;

serve((id) => {
  const scratch = {};
  for (let i = 0; i < 20; i++) scratch[`name_${id}_${i}`] = Symbol(`s${i}`);
  counts[`route-${id % 30}`] = (counts[`route-${id % 30}`] ?? 0) + 1;
  length += JSON.stringify(Object.keys(scratch)).length;
});
