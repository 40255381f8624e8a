// Many requests are in flight at each snapshot, more at the last; all of them end.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

class Request {
  constructor(id) {
    this.id = id;
    this.url = `/burst/${id}`;
  }
}

const inFlight = new Map();

async function handle(request) {
  inFlight.set(request.id, request);
  for (let turn = 0; turn < 40 + request.id / 2; turn++) await new Promise((go) => inFlight.set(request.id, { request, go }));
  inFlight.delete(request.id);
}

serve((id) => {
  for (const { go } of [...inFlight.values()]) go();
  handle(new Request(id));
});
