// Writes a snapshot of a heap of many small objects: node make.cjs FILE OBJECTS
// Per object about 2.4 nodes and 250 bytes of file: records in a Map, with strings, arrays, dates.
'use strict';
const [file, count] = [process.argv[2], Number(process.argv[3])];
class Item { constructor(n) { this.id = n; this.name = `item ${n % 5000}`; this.tags = n % 4 ? null : [n, n % 7]; this.next = null; } }
class Order { constructor(n, item) { this.n = n; this.item = item; this.at = n % 10 ? n : new Date(n); } }
const orders = globalThis.orders = new Map();
const plain = globalThis.plain = [];
const callbacks = globalThis.callbacks = [];
let last = null;
for (let n = 0; n < count; n++) {
  const item = new Item(n);
  if (n % 3) item.next = last;
  last = item;
  if (n % 2) orders.set(n, new Order(n, item)); else plain.push({id: n, item, label: `l${n}`, price: n + 0.5});
  if (n % 20 === 0) callbacks.push(() => item.id + n);
}
require('node:v8').writeHeapSnapshot(file);
process.exit(0);
