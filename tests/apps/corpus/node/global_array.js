// A collection on the global object.
// truth: {"verdict": "leaking", "holder": "auditTrail", "kind": "Array", "class": "AuditEntry", "per_unit": 2, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class AuditEntry {
  constructor(what, id) {
    this.what = what;
    this.subject = `subject-${id}`;
  }
}

globalThis.auditTrail = [];

serve((id) => {
  globalThis.auditTrail.push(new AuditEntry('open', id), new AuditEntry('close', id));
});
