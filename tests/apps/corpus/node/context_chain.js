// Each generation's closure shares its context with one that holds the generation before.
// truth: {"verdict": "leaking", "holder": "thing", "kind": "linked list", "class": "Thing", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Thing {
  constructor(id, method) {
    this.text = `thing ${id} `.repeat(10);
    this.method = method;
  }
}

let thing = null;

function replace(id) {
  const original = thing;
  // Never called, but it makes `original` live in the context that `method` shares.
  const unused = () => original && console.log('hi');
  thing = new Thing(id, () => `method of ${id}`);
  return unused.length;
}

serve(replace);
