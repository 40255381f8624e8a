'use strict';
// Hashes in libuv's thread pool (bcrypt, C++) and in Rust's (argon2).
const bcrypt = require('bcrypt');
const argon2 = require('@node-rs/argon2');
const { up, work } = require('./common.cjs');

const cheap = { memoryCost: 1024, timeCost: 2, parallelism: 1 };
require('http').createServer(async (request, response) => {
  const { n } = work();
  const hashed = await Promise.all([bcrypt.hash(`p${n}`, 4), argon2.hash(`p${n}`, cheap)]);
  response.end(JSON.stringify(hashed));
}).listen(0, '127.0.0.1', function () { up(this.address().port); });
