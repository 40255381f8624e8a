// An object used as a dictionary: sessions are added and never deleted.
// truth: {"verdict": "leaking", "holder": "sessions", "kind": "Object", "class": "Session", "per_unit": 1, "at": "constructor("}
'use strict';
const { serve } = require('./harness');

class Session {
  constructor(token) {
    this.token = token;
    this.cart = [{ sku: `sku-${token}` }];
  }
}

const sessions = Object.create(null);

serve((id) => {
  const token = `tok${id.toString(36)}`;
  sessions[token] = new Session(token);
});
