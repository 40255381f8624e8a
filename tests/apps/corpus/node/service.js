// Three leaks of different sizes beside a bounded cache, static data and garbage.
// truth: {"verdict": "leaking", "suspects": [{"holder": "reports", "kind": "Map", "class": "Report", "per_unit": 1, "at": "constructor("}, {"holder": "bus", "kind": "EventEmitter", "class": "Function", "per_unit": 1, "at": "bus.on"}, {"holder": "undo", "kind": "Array", "class": "Function", "per_unit": 1, "at": "undo.push"}]}
'use strict';
const { EventEmitter } = require('node:events');
const { serve } = require('./harness');

class Report {
  constructor(id) {
    this.lines = Array.from({ length: 20 }, (_, line) => `line ${line} of report ${id}`);
  }
}

const bus = new EventEmitter().setMaxListeners(0);
const reports = new Map();
const undo = [];
const recent = new Map();
const countries = Array.from({ length: 2000 }, (_, i) => ({ code: `C${i}`, name: `Country ${i}` }));
let seen = 0;

function remember(id) {
  recent.set(id, { id, page: `<html>${id}</html>` });
  if (recent.size > 100) recent.delete(recent.keys().next().value);
}

function handle(id) {
  const request = { id, country: countries[id % 2000], body: [`body of ${id}`] };
  remember(id);
  reports.set(id, new Report(id));
  undo.push(() => {
    seen -= request.body.length;
  });
  bus.on('close', () => seen++);
  JSON.parse(JSON.stringify(request));
}

serve(handle);
