// A module's array that remembers every request.
// truth: {"verdict": "leaking", "holder": "history", "kind": "Array", "class": "{path, at, headers}", "per_unit": 1}
'use strict';
const { serve } = require('./harness');

const history = [];

function handle(id) {
  history.push({ path: `/item/${id}`, at: new Date(id), headers: { host: `h${id % 7}`, trace: `t-${id}` } });
}

exports.last = () => history.at(-1);
serve(handle);
