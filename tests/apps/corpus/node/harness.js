// Serves a corpus program over stdin: `work N`, `snapshot FILE`, `quit`; each is answered by `ok`.
'use strict';
const readline = require('node:readline');
const v8 = require('node:v8');

const turn = () => new Promise((resolve) => setImmediate(resolve));

// Finalizers and close callbacks get their turns, so that only what is really held is left.
async function settle() {
  for (let i = 0; i < 3; i++) {
    global.gc();
    await turn();
  }
}

let unit = 0;

async function run(line, work) {
  const [command, argument] = line.split(' ');
  if (command === 'work') {
    for (let i = 0; i < Number(argument); i++) await work(unit++);
    await turn();
  } else if (command === 'snapshot') {
    await settle();
    v8.writeHeapSnapshot(argument);
  } else if (command === 'quit') process.exit(0);
}

exports.serve = async function serve(work) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await run(line, work);
    process.stdout.write('ok\n');
  }
};
