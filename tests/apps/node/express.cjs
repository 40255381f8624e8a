'use strict';
// Express with a middleware that keeps a little of each request.
const express = require('express');
const { up, work } = require('./common.cjs');

const app = express();
app.use(express.json());
app.use((request, response, next) => {
  request.began = performance.now();
  next();
});
app.get('/', (request, response) => response.json(work()));
const server = app.listen(0, '127.0.0.1', () => up(server.address().port));
