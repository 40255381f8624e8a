// A listener added per request to an emitter that lives as long as the process.
// truth: {"verdict": "leaking", "holder": "bus", "kind": "EventEmitter", "class": "Function", "per_unit": 1, "at": "bus.on"}
'use strict';
const { EventEmitter } = require('node:events');
const { serve } = require('./harness');

const bus = new EventEmitter().setMaxListeners(0);

function handle(id) {
  const request = { id, path: `/orders/${id}`, body: `payload of order ${id} `.repeat(20) };
  bus.on('shutdown', () => console.log(request.path, request.body));
  bus.emit('request', request);
}

serve(handle);
