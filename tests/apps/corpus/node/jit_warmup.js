// Code gets hot between the snapshots: new functions, feedback, inline caches and shapes.
// truth: {"verdict": "not leaking", "warm": 1}
'use strict';
const { serve } = require('./harness');

const shapes = [
  (i) => ({ a: i }),
  (i) => ({ b: i, a: i }),
  (i) => ({ c: i, b: i, a: i }),
  (i) => ({ d: [i], c: String(i) }),
];
const operations = Array.from({ length: 60 }, (_, n) =>
  new Function('shape', `let sum = 0; for (let i = 0; i < 300; i++) sum += (shape(i).a ?? ${n}) + i % ${n + 2}; return sum;`),
);

serve((id) => operations[id % operations.length](shapes[id % shapes.length]));
