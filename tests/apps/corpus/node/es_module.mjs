// A cache that an ES module exports: the variable lives in a cell, not in the module's context.
// truth: {"verdict": "leaking", "holder": "reportCache", "kind": "Map", "class": "Report", "per_unit": 1, "at": "constructor("}
import harness from './harness.js';

class Report {
  constructor(id) {
    this.id = `report-${id}`;
    this.rows = Array.from({ length: 5 }, (_, row) => ({ row: `row ${row} of ${id}` }));
  }
}

export const reportCache = new Map();

harness.serve((id) => reportCache.set(`/reports/${id}`, new Report(id)));
