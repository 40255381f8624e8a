// Growth spread over many small collections: one Map per tenant inside a Map of tenants.
// truth: {"verdict": "leaking", "holder": "tenants", "kind": "Map", "class": "Row", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Row {
  constructor(id) {
    this.value = `value ${id}`;
  }
}

const tenants = new Map();
for (let i = 0; i < 40; i++) tenants.set(`tenant-${i}`, new Map());

serve((id) => {
  tenants.get(`tenant-${id % 40}`).set(id, new Row(id));
});
