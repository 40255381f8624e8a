'use strict';
// Server-side rendering: what Next.js does for a page, without its build.
const React = require('react');
const { renderToString } = require('react-dom/server');
const { up, work } = require('./common.cjs');

const element = React.createElement;
const Item = ({ i, n }) => element('li', { key: i, className: 'item' }, `item ${i} of ${n}`);
const Page = ({ n }) => element('main', null, element('h1', null, `page ${n}`),
  element('ul', null, Array.from({ length: 40 }, (_, i) => element(Item, { key: i, i, n }))));

require('http').createServer((request, response) => {
  const { n } = work();
  response.setHeader('content-type', 'text/html');
  response.end(renderToString(element(Page, { n })));
}).listen(0, '127.0.0.1', function () { up(this.address().port); });
