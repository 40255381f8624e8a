// A cache with a bound: full of ever new entries.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

class Page {
  constructor(id) {
    this.html = `<p>${id}</p>`;
  }
}

const LIMIT = 80;
const pages = new Map();

serve((id) => {
  pages.set(`/page/${id}`, new Page(id));
  if (pages.size > LIMIT) pages.delete(pages.keys().next().value);
});
