// A cache of weak references that a FinalizationRegistry tidies up.
// truth: {"verdict": "not leaking"}
'use strict';
const { serve } = require('./harness');

class Image {
  constructor(id) {
    this.pixels = new Array(50).fill(id);
  }
}

const images = new Map();
const registry = new FinalizationRegistry((key) => images.delete(key));

serve((id) => {
  const key = `image-${id}`;
  const image = new Image(id);
  images.set(key, new WeakRef(image));
  registry.register(image, key);
});
