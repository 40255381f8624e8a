// A cache without a bound: a Map that only grows.
// truth: {"verdict": "leaking", "holder": "reportCache", "kind": "Map", "class": "Report", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Report {
  constructor(id) {
    this.id = `report-${id}`;
    this.rows = Array.from({ length: 5 }, (_, row) => ({ row: `row ${row} of ${id}`, total: row * id }));
  }
}

const reportCache = new Map();

function handle(id) {
  const key = `/reports/${id}`;
  if (!reportCache.has(key)) reportCache.set(key, new Report(id));
  return reportCache.get(key);
}

serve(handle);
