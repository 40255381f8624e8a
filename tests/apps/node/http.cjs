'use strict';
// Plain http.
const { up, work } = require('./common.cjs');

require('http').createServer((request, response) => response.end(JSON.stringify(work())))
  .listen(0, '127.0.0.1', function () { up(this.address().port); });
