// Requests listen to the abort signal of the whole process and never stop listening.
// truth: {"verdict": "leaking", "holder": "shutdown.#signal or shutdown[<symbol signal>]", "kind": "EventTarget", "class": "Listener", "per_unit": 1, "at": "addEventListener"}
'use strict';
const { setMaxListeners } = require('node:events');
const { serve } = require('./harness');

const shutdown = new AbortController();
setMaxListeners(0, shutdown.signal);
let aborted = 0;

function handle(id) {
  const state = { id, url: `/stream/${id}` };
  shutdown.signal.addEventListener('abort', () => {
    aborted += state.url.length;
  });
}

serve(handle);
