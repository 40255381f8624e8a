'use strict';
// A cluster of four workers that share a port; the first to listen says where the others are not.
const cluster = require('cluster');

if (cluster.isPrimary) {
  for (let i = 0; i < 4; i++) cluster.fork({ TELLS: i === 0 ? '1' : '' });
} else {
  const { up, work } = require('./common.cjs');
  require('http').createServer((request, response) => response.end(JSON.stringify(work())))
    .listen(Number(process.env.PORT || 0), '127.0.0.1', function () {
      if (process.env.TELLS) up(this.address().port);
    });
}
