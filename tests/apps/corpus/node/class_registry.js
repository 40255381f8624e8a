// Every instance registers itself with its class.
// truth: {"verdict": "leaking", "holder": "Widget.all", "kind": "Set", "class": "Widget", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Widget {
  static all = new Set();

  constructor(id) {
    this.label = `widget ${id}`;
    this.size = [id, id + 1];
    Widget.all.add(this);
  }
}

serve((id) => new Widget(id).size);
