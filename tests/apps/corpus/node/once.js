// A `once` listener per request for an event that never comes.
// truth: {"verdict": "leaking", "holder": "connection", "kind": "EventEmitter", "class": "Function", "per_unit": 1, "at": "connection.once"}
'use strict';
const { EventEmitter } = require('node:events');
const { serve } = require('./harness');

const connection = new EventEmitter().setMaxListeners(0);
let served = 0;

function handle(id) {
  const reply = Buffer.from(`reply to request ${id}`).toString('hex');
  connection.once('drain', () => {
    served += reply.length;
  });
}

serve(handle);
