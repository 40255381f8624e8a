'use strict';
// Next.js with a server of its own, as built from the folder `next`.
process.env.NODE_ENV = 'production';
process.env.NEXT_TELEMETRY_DISABLED = '1';
const next = require('next');
const { up, work } = require('./common.cjs');

globalThis.work = work; // for the pages, which are bundled apart
const app = next({ dev: false, dir: process.env.NEXT_APP });
app.prepare().then(() => {
  require('http').createServer(app.getRequestHandler())
    .listen(0, '127.0.0.1', function () { up(this.address().port); });
});
