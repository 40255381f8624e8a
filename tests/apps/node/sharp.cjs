'use strict';
// Pictures made by libvips in threads of its own.
const sharp = require('sharp');
const { up, work } = require('./common.cjs');

require('http').createServer(async (request, response) => {
  const { n } = work();
  const background = { r: n % 256, g: 10, b: 20 };
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background } });
  response.end(await picture.resize(32, 32).png().toBuffer());
}).listen(0, '127.0.0.1', function () { up(this.address().port); });
