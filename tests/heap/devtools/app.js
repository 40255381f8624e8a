// A program with one of everything that a heap snapshot can hold, and a second snapshot later.
'use strict';
const v8 = require('node:v8');
const vm = require('node:vm');
const {EventEmitter} = require('node:events');
const {AsyncLocalStorage} = require('node:async_hooks');

class Report { constructor(n) { this.n = n; this.title = `report ${n}`; this.rows = [n, n + 1]; } }
class Other extends Report { #secret = {hidden: true}; static kinds = new Set(['a', 'b']); get s() { return this.#secret; } }
const tag = Symbol('tag');
const app = globalThis.app = {
  map: new Map(), set: new Set(), weak: new WeakMap(), weakSet: new WeakSet(), refs: [], registry: null,
  emitter: new EventEmitter(), storage: new AsyncLocalStorage(), list: [], timers: [], dictionary: Object.create(null),
};
app.registry = new FinalizationRegistry(() => {});
app.emitter.setMaxListeners(0);

async function pending(n) { const held = {waitsFor: n, buffer: Buffer.alloc(100 + n)}; await new Promise(() => {}); return held; }
function* counting(n) { const box = {start: n}; while (true) { yield box.start++; } }
function closure(n) { const big = new Array(20).fill(n); const text = 'x'.repeat(n) + 'é☃😀'; return () => big.length + text.length; }

function round(from, to) {
  for (let n = from; n < to; n++) {
    const report = n % 3 ? new Report(n) : new Other(n);
    app.map.set(`key ${n}`, report);
    app.set.add({id: n, name: `n${n}`, 'odd, name': 1, [tag]: n, [Symbol('tag')]: {}});
    const key = {key: n};
    app.weak.set(key, {value: n, key: n % 2 ? key : null});
    if (n % 2) app.refs.push(key);
    app.weakSet.add(report);
    app.refs.push(new WeakRef(report));
    app.registry.register(report, {token: n});
    app.emitter.on(`event ${n % 5}`, closure(n));
    app.list.push(pending(n), counting(n), closure(n), /re+gexp/g, BigInt(n) ** 70n, new Date(n), new Error(`e${n}`));
    app.list.push(new Uint8Array(1000 + n), new SharedArrayBuffer(64), new DataView(new ArrayBuffer(256)), Buffer.from(`b${n}`));
    app.list.push(('left part of a string '.repeat(3) + n) + ' and right part', 'a long string to cut from '.repeat(9).slice(3, 40), `line\u2028${n}"\\\n`);
    app.list.push(new Proxy({target: n}, {get() {}}), Object.assign(() => {}, {extra: {n}}), report.rows.map.bind(report.rows));
    app.list.push({a: 1, b: {c: [1.5, 2.5, n], d: null}}, {b: 1, a: n}, {'größe': 1, '名前': n, 'tab\t': 1}, {__proto__: null, a: n}, n % 7 ? {a: 1, b: 2, z: {}} : {});
    app.dictionary[`entry-${n}`] = {[`p${n % 11}`]: n, shared: app.map};
    app.storage.run({request: n}, () => app.timers.push(setTimeout(closure(n), 1e6)));
    if (n % 10 === 0) app.list.push(vm.createContext({inside: {n}}), 'y'.repeat(2000) + n, new Intl.NumberFormat('en'), new URL(`http://h/${n}`));
    if (n % 10 === 1) app.list.push(new WebAssembly.Memory({initial: 1}), new TextDecoder(), structuredClone({deep: {er: n}}), new AbortController());
  }
  const context = vm.runInContext('globalThis.inner = {list: [1, 2, {three: 3}], f() { return inner; }}; inner', vm.createContext({}));
  app.list.push(context);
}

const [before, after] = process.argv.slice(2);
round(0, 150);
v8.writeHeapSnapshot(before);
round(150, 260);
for (let n = 0; n < 60; n++) app.map.delete(`key ${n}`);
for (let n = 0; n < 400; n++) if (n % 4 === 0) app.list[n] = null;
v8.writeHeapSnapshot(after);
process.exit(0);
