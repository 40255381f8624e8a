// A WeakMap does not help when its key lives for ever: the notes pile up in the value.
// truth: {"verdict": "leaking", "holder": "app → its value in a WeakMap", "kind": "Array", "class": "Note", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Note {
  constructor(id) {
    this.text = `note ${id}`;
  }
}

const notes = new WeakMap();
const app = { name: 'shop' };
notes.set(app, []);

serve((id) => {
  notes.get(app).push(new Note(id));
});
