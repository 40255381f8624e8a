// An interval per connection that is never cleared.
// truth: {"verdict": "leaking", "holder": "timerListMap[3600000]", "kind": "timers", "class": "Timeout", "per_unit": 1, "at": "setInterval"}
'use strict';
const { serve } = require('./harness');

let beats = 0;

function connect(id) {
  const session = { id, user: `user-${id}`, inbox: new Array(8).fill(`mail for ${id}`) };
  setInterval(() => {
    beats += session.inbox.length;
  }, 3_600_000);
}

serve(connect);
