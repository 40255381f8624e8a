// A bounded cache that is still filling at the second snapshot and full at the third.
// truth: {"verdict": "not leaking", "two": "growing, not sure"}
'use strict';
const { serve } = require('./harness');

class Page {
  constructor(id) {
    this.html = `<p>${id}</p>`;
  }
}

const LIMIT = 250;
const pages = new Map();

serve((id) => {
  pages.set(`/page/${id}`, new Page(id));
  if (pages.size > LIMIT) pages.delete(pages.keys().next().value);
});
