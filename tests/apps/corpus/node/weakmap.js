// A WeakMap does not help when its key lives for ever: the notes pile up in the value.
// truth: {"verdict": "leaking", "holder": "notes", "kind": "Array", "class": "Note", "per_unit": 1, "at": "class Note"}
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
