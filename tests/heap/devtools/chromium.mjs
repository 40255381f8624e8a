// Takes a heap snapshot of a page with detached DOM in headless Chromium: node chromium.mjs CHROMIUM FOLDER FILE
import {spawn} from 'node:child_process';
import * as fs from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';

const [chromium, folder, file] = process.argv.slice(2);
const page = `<title>shop</title><div id=app><ul id=list></ul></div><script>
  class Row { constructor(n) { this.n = n; this.node = document.createElement('li'); this.node.textContent = 'row ' + n;
    this.node.addEventListener('click', () => this.n++); } }
  window.rows = []; window.weak = new WeakMap();
  const list = document.getElementById('list');
  for (let n = 0; n < 200; n++) { const row = new Row(n); rows.push(row); list.append(row.node); weak.set(row.node, {n}); }
  for (let n = 0; n < 120; n++) rows[n].node.remove();
  const tree = document.createElement('section'); tree.innerHTML = '<p class="a b"><b>x</b><i>y</i></p>'.repeat(30);
  window.kept = tree.querySelector('b'); document.body.append(Object.assign(document.createElement('iframe'), {srcdoc: '<p>in</p>'}));
</script>`;

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
  '--remote-debugging-port=0', `--user-data-dir=${folder}`];
const browser = spawn(chromium, [...flags, 'data:text/html,' + encodeURIComponent(page)], {stdio: 'ignore'});
process.on('exit', () => browser.kill('SIGKILL'));

async function attempt(step, tries = 600) {
  for (;;) {
    try {
      const found = await step();
      if (found) return found;
    } catch (error) {
      if (!tries) throw error;
    }
    if (!tries--) throw new Error('no answer from Chromium');
    await sleep(100);
  }
}

const port = (await attempt(() => fs.readFileSync(`${folder}/DevToolsActivePort`, 'utf8'))).split('\n')[0];
const target = await attempt(async () => {
  const pages = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
  return pages.find(one => one.type === 'page' && one.title === 'shop');
});
const socket = new WebSocket(target.webSocketDebuggerUrl);
await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
const out = fs.openSync(file, 'w');
let last = 0;
const waiting = new Map();
socket.onmessage = ({data}) => {
  const message = JSON.parse(data);
  if (message.method === 'HeapProfiler.addHeapSnapshotChunk') fs.writeSync(out, message.params.chunk);
  else if (message.id) waiting.get(message.id)(message);
};
const call = (method, params = {}) => new Promise(resolve => {
  waiting.set(++last, resolve);
  socket.send(JSON.stringify({id: last, method, params}));
});
await call('HeapProfiler.enable');
await call('HeapProfiler.takeHeapSnapshot', {reportProgress: false});
fs.closeSync(out);
process.exit(0);
