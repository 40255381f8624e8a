// Uploads whose buffers are never let go.
// truth: {"verdict": "leaking", "holder": "uploads", "kind": "Set", "class": "Buffer", "per_unit": 1}
'use strict';
const { serve } = require('./harness');

const uploads = new Set();

function receive(id) {
  const chunk = Buffer.allocUnsafeSlow(2048).fill(id % 256);
  uploads.add(chunk);
  return chunk.length;
}

serve(receive);
