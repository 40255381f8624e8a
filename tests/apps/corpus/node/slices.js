// Short slices that keep the long strings they were cut from.
// truth: {"verdict": "leaking", "holder": "tokens", "kind": "Array", "class": "(sliced string)", "per_unit": 1}
'use strict';
const { serve } = require('./harness');

const tokens = [];

function login(id) {
  const body = Buffer.alloc(4096, `session ${id};`).toString('latin1');
  tokens.push(body.slice(8, 40));
}

exports.count = () => tokens.length;
serve(login);
