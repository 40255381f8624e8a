// Undo closures kept for ever; each holds the document it would restore.
// truth: {"verdict": "leaking", "holder": "undoStack", "kind": "Array", "class": "Function", "per_unit": 1, "at": "undoStack.push"}
'use strict';
const { serve } = require('./harness');

const undoStack = [];
let current = null;

function edit(id) {
  const before = { title: `draft ${id}`, words: `text of draft ${id} `.split(' ') };
  undoStack.push(() => {
    current = before;
  });
  current = { title: `draft ${id + 1}`, words: [] };
}

serve(edit);
