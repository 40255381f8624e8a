// Async handlers that wait for a gate nobody opens: reactions pile up on one promise.
// truth: {"verdict": "leaking", "holder": "ready", "kind": "Promise", "class": "PromiseReaction", "per_unit": 1, "at": "async function handle"}
'use strict';
const { serve } = require('./harness');

const ready = new Promise(() => {});

async function handle(id) {
  const order = { id, items: [`item ${id}`, `item ${id + 1}`] };
  await ready;
  return order.items;
}

serve((id) => {
  handle(id);
});
