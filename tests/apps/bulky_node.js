'use strict';
// A service whose heap does not compress: COUNT strings of 900 random characters each.
//
//   node bulky_node.js PORT COUNT
const crypto = require('crypto');
const http = require('http');

const kept = Array.from({ length: Number(process.argv[3]) }, () => crypto.randomBytes(675).toString('base64'));
http
  .createServer((request, response) => response.end(JSON.stringify({ kept: kept.length })))
  .listen(Number(process.argv[2]), '127.0.0.1');
