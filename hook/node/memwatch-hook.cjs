'use strict';
// The memwatch hook for Node.js 18 to 26: NODE_OPTIONS="--require /path/to/memwatch-hook.cjs".
//
// Serves docs/formats/hook-wire.md on a Unix socket, so that an agent can take heap snapshots of
// this process. It lives in a stranger's application: no dependencies, nothing at start-up but one
// immediate, no exception ever leaves it, nothing it opens keeps the process alive, and
// MEMWATCH_HOOK=off switches it off.

const HOOK_VERSION = '0.1.0';
const PROTOCOL = 1;
const HELLO = 1, REQUEST = 2, PROGRESS = 3, DATA = 4, RESULT = 5, ERROR = 6, CANCEL = 7, STOP = 8;
const COMMANDS = ['info', 'stats', 'gc', 'heap', 'profile'];
// How a heap snapshot can be asked for; an agent must not ask an older hook for another way.
const PAUSES = ['blocking', 'forked'];

const HEADER_BYTES = 5;
const MAX_JSON_BYTES = 64 * 1024;
// V8 gives 64 KiB at a time; four of them cost one system call here and one frame there.
const FRAME_BYTES = 256 * 1024;
// A Unix socket's path holds 108 bytes, the last one a NUL.
const MAX_PATH_BYTES = 107;
// More peers than this are no agents.
const MAX_CONNECTIONS = 8;
// So many leftovers are looked at; a directory that holds more is not ours to tidy.
const MAX_LEFTOVERS = 64;
const MAX_ARGV_CHARS = 512;
const MAX_MESSAGE_CHARS = 500;
// How long a snapshot, which blocks the app anyway, may wait in all for a slow agent before the
// rest of it is kept in memory instead.
const MAX_WAIT_MILLIS = 500;
// Stands beside this file where it was built: takes snapshots in a forked child.
const ADDON = 'memwatch-fork.node';
// How long a fork waits for an instant at which no other thread of the process runs.
const MAX_QUIET_WAIT_MILLIS = 250;
// A child of lower priority leaves the app its CPU; it is as fast where there is some to spare.
const CHILD_NICE = 10;
// A child that sleeps for so long although its bytes are read waits for a thread it does not have.
const CHILD_QUIET_MILLIS = 3000;
const CHILD_DEADLINE_MILLIS = 900000;
// A recording is bounded in time, in the number of looks of its kind `stats`, and in its size.
const MAX_RECORD_SECONDS = 3600;
const LOOK_MILLIS = 1000;
const MAX_LOOKS = 600;
const MAX_PROFILE_BYTES = 100 * 1024 * 1024;
// V8's own default; a smaller one costs the app more.
const SAMPLING_INTERVAL_BYTES = 32768;
// V8 notes no more of a sampled stack.
const MAX_FRAMES = 128;
// A black box is written when so much of V8's limit is in use after a collection, and given up
// when far less is; classes are counted at most so often.
const BOX_SHARES = [0.7, 0.8, 0.88, 0.94];
const BOX_RECOVERED = 0.5;
const BOX_QUIET_MILLIS = 5000;
const BOX_TRIES = 4;
const BOX_DEADLINE_MILLIS = 60000;
const MAX_BOXES = 10;
// When the limit is met: for how long a process that would die waits for its child, and how long
// the child may take in all, by MEMWATCH_NEAR_LIMIT.
const LIMIT_MILLIS = { stats: [10000, 20000], snapshot: [120000, 150000] };
// Memory of the child: measured 2 times a heap of small objects for the counts (a collection
// writes to most pages), and 10 to 24 times for a snapshot.
const CLASSES_PER_HEAP = 3;
const CLASSES_BYTES = 48 * 1024 * 1024;
const SNAPSHOT_PER_HEAP = 16;
// V8's kinds of collection, by perf_hooks' numbers.
const COLLECTIONS = { 1: 'minor', 2: 'mark-compact (minor)', 4: 'major', 8: 'incremental', 16: 'weak callbacks' };
// More threads than this are not asked for their names.
const MAX_TASKS = 1000;
// Package managers run for a moment, and are nobody's service.
const NOT_SERVICES = /(^|[\\/])(npm|npx|yarn|yarnpkg|pnpm|pnpx|corepack)(-cli)?(\.c?js)?$/;

// Two copies of this file in one process are one hook.
const MARK = Symbol.for('memwatch.hook');

/** Runs `work` and swallows what it throws: the app must never see an exception of ours. */
function quietly(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** A callback that never throws. */
function quiet(callback) {
  return (...args) => quietly(() => callback(...args));
}

function isWanted() {
  if (process.env.MEMWATCH_HOOK === 'off' || globalThis[MARK]) return false;
  if (process.platform !== 'linux' || NOT_SERVICES.test(process.argv[1] || '')) return false;
  return require('worker_threads').isMainThread;
}

// ---- where: one socket for each process -------------------------------------------------------

/** Field 22 of /proc/self/stat, behind the command's name, which may hold anything. */
function startTicks() {
  const stat = require('fs').readFileSync('/proc/self/stat', 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
}

/** The directory, made if it is missing. One in /tmp that somebody else made is an error. */
function preparedDirectory() {
  const fs = require('fs');
  const given = process.env.MEMWATCH_HOOK_DIR;
  const directory = require('path').resolve(given || `/tmp/memwatch-${process.getuid()}`);
  quietly(() => fs.mkdirSync(directory, { mode: 0o700 }));
  const found = fs.lstatSync(directory);
  if (!given && (found.uid !== process.getuid() || !found.isDirectory())) {
    throw new Error('the directory belongs to somebody else');
  }
  return directory;
}

function newHook(lent) {
  return { ticks: startTicks(), connections: 0, heapRuns: false, idsForgotten: 0, fork: null, lent };
}

function start() {
  const hook = newHook(null);
  const directory = preparedDirectory();
  const path = require('path').join(directory, `node-${process.pid}-${hook.ticks}.sock`);
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return;
  listen(hook, path, () => removeIfDead(path, () => listen(hook, path, () => {})));
  tidy(directory, path);
  watchLimit(hook, directory, path);
}

function listen(hook, path, onTaken) {
  const fs = require('fs');
  const server = require('net').createServer(quiet((socket) => accept(hook, socket)));
  server.on('error', quiet((error) => error.code === 'EADDRINUSE' && onTaken()));
  server.on('listening', quiet(() => {
    process.once('exit', quiet(() => fs.unlinkSync(path)));
  }));
  // exclusive: a cluster's worker would else ask its primary to listen for it.
  server.listen({ path, exclusive: true });
  server.unref();
  // Listening has begun by now, and nobody is accepted before the loop turns.
  fs.chmodSync(path, 0o600);
}

/** Removes sockets of hooks that were killed. Only a connection can tell: their processes may be
 * in pid namespaces that we do not see. */
function tidy(directory, own) {
  require('fs').readdir(directory, quiet((error, names) => {
    if (error) return;
    const sockets = names.filter((name) => /^node-\d+-\d+\.sock$/.test(name));
    for (const name of sockets.slice(0, MAX_LEFTOVERS)) {
      const path = require('path').join(directory, name);
      if (path !== own) removeIfDead(path, () => {});
    }
  }));
}

/** Removes a socket on which nobody listens any more; a live one is left alone. */
function removeIfDead(path, then) {
  const probe = require('net').connect({ path });
  probe.unref();
  probe.on('connect', quiet(() => probe.destroy()));
  probe.on('error', quiet((error) => {
    if (error.code !== 'ECONNREFUSED') return;
    require('fs').unlink(path, quiet((failed) => failed || then()));
  }));
}

// ---- the wire ---------------------------------------------------------------------------------

function frame(type, payload) {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(payload.length, 0);
  header[4] = type;
  return Buffer.concat([header, payload]);
}

function say(connection, type, fields) {
  const bytes = frame(type, Buffer.from(JSON.stringify(fields)));
  // While a child's bytes go out past the event loop, a word in between would break its frames.
  if (connection.held) connection.held.push(bytes);
  else connection.socket.write(bytes);
}

function giveUp(job) {
  job.cancelled = true;
  if (job.cancel) quietly(job.cancel);
}

function refuse(connection, id, reason, message, details = {}) {
  const text = String(message).slice(0, MAX_MESSAGE_CHARS);
  say(connection, ERROR, { id, reason, message: text, ...details });
}

function accept(hook, socket) {
  socket.unref();
  socket.on('error', () => {});
  if (hook.connections >= MAX_CONNECTIONS) {
    socket.destroy();
    return;
  }
  hook.connections += 1;
  const connection = { hook, socket, input: Buffer.alloc(0), job: null, held: null };
  socket.on('close', quiet(() => {
    hook.connections -= 1;
    if (connection.job) giveUp(connection.job);
  }));
  socket.on('data', quiet((bytes) => {
    if (!receive(connection, bytes)) socket.destroy();
  }));
  say(connection, HELLO, whoAmI(hook));
}

/** Takes in bytes of the agent; false where they are not this protocol. */
function receive(connection, bytes) {
  let input = connection.input.length ? Buffer.concat([connection.input, bytes]) : bytes;
  while (input.length >= HEADER_BYTES) {
    const length = input.readUInt32BE(0);
    if (length > MAX_JSON_BYTES) return false; // an agent sends nothing longer
    const end = HEADER_BYTES + length;
    if (input.length < end) break;
    if (!understand(connection, input[4], input.subarray(HEADER_BYTES, end))) return false;
    input = input.subarray(end);
  }
  connection.input = Buffer.from(input);
  return true;
}

function understand(connection, type, payload) {
  if (type === CANCEL && connection.job) giveUp(connection.job);
  if (type === STOP && connection.job && connection.job.stop) quietly(connection.job.stop);
  if (type !== REQUEST) return true;
  const request = quietly(() => JSON.parse(payload.toString('utf8')));
  if (typeof request !== 'object' || request === null) return false;
  if (!Number.isInteger(request.id)) return false;
  if (connection.job) {
    refuse(connection, request.id, 'BUSY', 'cannot run a second request: one runs at a time');
  } else {
    run(connection, request);
  }
  return true;
}

function run(connection, { id, command, options }) {
  const answer = (result) => say(connection, RESULT, { id, result });
  try {
    if (command === 'info') answer(info(connection.hook));
    else if (command === 'stats') answer(stats());
    else if (command === 'gc') answer(collect());
    else if (command === 'heap') heap(connection, id, options || {});
    else if (command === 'profile') profile(connection, id, options || {});
    else {
      const message = `cannot run command '${command}': this hook does not know it`;
      refuse(connection, id, 'UNKNOWN_COMMAND', message);
    }
  } catch (error) {
    refuse(connection, id, 'FAILED', `cannot run command '${command}': ${error}`);
  }
}

// ---- commands ---------------------------------------------------------------------------------

function whoAmI(hook) {
  return {
    protocol: PROTOCOL,
    hook_version: HOOK_VERSION,
    runtime: 'node',
    runtime_version: process.versions.node,
    pid: process.pid,
    start_ticks: hook.ticks,
    service: process.env.MEMWATCH_SERVICE_NAME || '',
    commands: COMMANDS,
    pauses: PAUSES,
  };
}

function info(hook) {
  let left = MAX_ARGV_CHARS;
  const argv = [];
  for (const word of process.argv) {
    if (left <= 0) break;
    argv.push(word.slice(0, left));
    left -= word.length;
  }
  return {
    ...whoAmI(hook),
    argv,
    main: process.argv[1] || '',
    started_millis: Math.round(Date.now() - process.uptime() * 1000),
  };
}

function stats() {
  const v8 = require('v8');
  const memory = process.memoryUsage();
  const whole = v8.getHeapStatistics();
  return {
    memory: {
      rss_bytes: memory.rss,
      heap_total_bytes: memory.heapTotal,
      heap_used_bytes: memory.heapUsed,
      external_bytes: memory.external,
      array_buffers_bytes: memory.arrayBuffers,
    },
    heap: {
      used_heap_bytes: whole.used_heap_size,
      total_heap_bytes: whole.total_heap_size,
      heap_limit_bytes: whole.heap_size_limit,
      malloced_bytes: whole.malloced_memory,
      native_contexts: whole.number_of_native_contexts,
      detached_contexts: whole.number_of_detached_contexts,
    },
    spaces: v8.getHeapSpaceStatistics().map((space) => ({
      name: space.space_name,
      used_bytes: space.space_used_size,
      size_bytes: space.space_size,
    })),
    workers: workerCount(),
    uptime_millis: Math.round(process.uptime() * 1000),
    event_loop: { utilization: rounded(performance.eventLoopUtilization().utilization) },
    resources: resources(),
  };
}

/** What keeps the event loop alive, by kind: sockets, timers, requests. Node 17.3 and later. */
function resources() {
  const found = {};
  const names = process.getActiveResourcesInfo ? process.getActiveResourcesInfo() : [];
  for (const name of names) found[name] = (found[name] || 0) + 1;
  return found;
}

function rounded(number) {
  return Math.round(number * 1000) / 1000;
}

function collect() {
  if (typeof globalThis.gc !== 'function') return { available: false };
  const before = process.memoryUsage().heapUsed;
  globalThis.gc();
  const collected = Math.max(0, before - process.memoryUsage().heapUsed);
  return { available: true, collected };
}

// ---- heap -------------------------------------------------------------------------------------

function heap(connection, id, options) {
  if (connection.hook.heapRuns) {
    refuse(connection, id, 'BUSY', 'cannot take a snapshot: another one is being taken');
  } else if (options.pause === 'forked') {
    forkedHeap(connection, id, options);
  } else {
    blockingHeap(connection, id);
  }
}

/**
 * Takes the snapshot and sends it. V8 builds and writes it in one go, whatever its stream's reader
 * says, so every piece is written to the socket right there, while the app stands still anyway:
 * kept for later, the pieces would cost the app the size of the file. What a slow agent leaves
 * over after MAX_WAIT_MILLIS is kept after all, and sent from the event loop.
 */
function blockingHeap(connection, id) {
  const { hook } = connection;
  hook.heapRuns = true;
  const job = { cancelled: false, outlet: new Outlet(connection.socket), ids: hook.idsForgotten };
  connection.job = job;
  const end = quiet((result, error) => {
    hook.heapRuns = false;
    connection.job = null;
    if (error) refuse(connection, id, 'FAILED', `cannot take a snapshot: ${error}`);
    else if (job.cancelled) refuse(connection, id, 'CANCELLED', 'cannot go on: it was given up');
    else say(connection, RESULT, { id, result });
  });
  // The loop turns once more, so that HELLO has left libuv's queue for certain.
  setImmediate(() => {
    try {
      if (job.cancelled) end(null);
      else takeSnapshot(job, end);
    } catch (error) {
      end(null, error);
    }
  });
}

function takeSnapshot(job, end) {
  const before = costNow();
  const stream = require('v8').getHeapSnapshot();
  stream.on('error', (error) => end(null, error));
  // Node pushes all pieces from within this read(): taken here, they never pile up in the stream.
  stream.push = quiet((piece) => {
    if (piece !== null) {
      job.outlet.data(piece);
      return true;
    }
    job.outlet.flush();
    const result = { ...outcome(job.outlet, before, costNow()), ids: job.ids };
    job.outlet.drain(() => job.cancelled, () => end(result));
    return false;
  });
  stream.read(0);
}

function costNow() {
  const usage = process.resourceUsage();
  return {
    millis: performance.now(),
    cpuMicros: usage.userCPUTime + usage.systemCPUTime,
    highestRssBytes: usage.maxRSS * 1024,
    rssBytes: process.memoryUsage.rss(),
  };
}

function outcome(outlet, before, after) {
  const grew = after.highestRssBytes > before.highestRssBytes; // else that peak is an older one
  const kept = outlet.keptBytes;
  return {
    size_bytes: outlet.sizeBytes,
    objects: outlet.objects,
    pause_millis: Math.round((after.millis - before.millis) * 1000) / 1000,
    cpu_millis: Math.round((after.cpuMicros - before.cpuMicros) / 1000),
    extra_memory_bytes: grew ? after.highestRssBytes - before.rssBytes : null,
    notes: [
      ...(kept ? [`the agent read slowly: ${kept} bytes waited in the target's memory`] : []),
      ...workerNotes(),
    ],
  };
}

// How many worker threads there are that were started since this file was loaded.
let startedWorkers = 0;

/** Counts workers by what Node tells of each: only Node 24 and later name their threads. */
function watchWorkers() {
  process.on('worker', quiet((worker) => {
    startedWorkers += 1;
    worker.once('exit', () => { startedWorkers -= 1; });
  }));
}

function workerCount() {
  const fs = require('fs');
  const tasks = quietly(() => fs.readdirSync('/proc/self/task')) || [];
  const name = (task) => quietly(() => fs.readFileSync(`/proc/self/task/${task}/comm`, 'latin1'));
  const named = tasks.slice(0, MAX_TASKS).filter((task) => name(task) === 'WorkerThread\n').length;
  return Math.max(named, startedWorkers);
}

/** What a snapshot leaves out: heaps of worker threads. */
function workerNotes() {
  const workers = workerCount();
  const others = 'each is a heap of its own, which worker.getHeapSnapshot() writes within the app';
  return workers ? [`heaps of worker threads are not in it; there are ${workers} of them, ${others}`] : [];
}

/** The way out for DATA: straight to the socket while it takes them, then from memory. */
class Outlet {
  constructor(socket) {
    this.socket = socket;
    this.kept = []; // whole frames, but for the first, which may be the rest of one
    this.keptBytes = 0;
    this.sizeBytes = 0;
    this.objects = null;
    this.waitedMillis = 0;
    // One frame's memory, used again and again: garbage would cost the app a collection.
    this.frame = Buffer.allocUnsafeSlow(HEADER_BYTES + FRAME_BYTES);
    this.filled = HEADER_BYTES;
  }

  /** Takes in the next piece; it goes out when it fills a frame. */
  data(piece) {
    if (this.sizeBytes === 0) {
      const found = /"node_count":(\d+)/.exec(piece.toString('latin1'));
      this.objects = found ? Number(found[1]) : null;
    }
    this.sizeBytes += piece.length;
    for (let at = 0; at < piece.length;) {
      const copied = piece.copy(this.frame, this.filled, at);
      this.filled += copied;
      at += copied;
      if (this.filled === this.frame.length) this.flush();
    }
  }

  /** Sends what the frame holds, or keeps it. */
  flush() {
    if (this.filled === HEADER_BYTES) return;
    const bytes = this.frame.subarray(0, this.filled);
    bytes.writeUInt32BE(this.filled - HEADER_BYTES, 0);
    bytes[4] = DATA;
    this.filled = HEADER_BYTES;
    const written = this.kept.length ? 0 : this.writeNow(bytes);
    if (written === bytes.length) return;
    this.kept.push(Buffer.from(bytes.subarray(written)));
    this.keptBytes += bytes.length - written;
  }

  /** Writes to the socket's descriptor past the event loop; returns how much it took. */
  writeNow(bytes) {
    const fd = this.socket._handle ? this.socket._handle.fd : -1;
    if (!(fd >= 0) || this.socket.writableLength > 0) return 0;
    let at = 0;
    while (at < bytes.length) {
      try {
        at += require('fs').writeSync(fd, bytes, at, bytes.length - at);
      } catch (error) {
        if (error.code !== 'EAGAIN' || !this.waited()) break;
      }
    }
    return at;
  }

  /** Waits a millisecond for the agent to read; false where it has had its time. */
  waited() {
    if (this.waitedMillis >= MAX_WAIT_MILLIS) return false;
    this.waitedMillis += 1;
    return quietly(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)) !== undefined;
  }

  /** Sends what was kept as fast as it is read; after a cancel, only the frame that has begun. */
  drain(isCancelled, done) {
    const next = this.kept.shift();
    if (next === undefined || this.socket.destroyed) {
      this.kept = [];
      done();
      return;
    }
    this.socket.write(next, quiet(() => {
      if (isCancelled()) this.kept = [];
      this.drain(isCancelled, done);
    }));
  }
}

// ---- heap, from a forked child ----------------------------------------------------------------

/**
 * Takes the snapshot in a forked child (hook/node/fork/): the app stands still for the fork alone.
 * The child's bytes go to the agent past the event loop, from a thread of the addon's.
 */
function forkedHeap(connection, id, options) {
  const { hook } = connection;
  const { addon, missing } = loadedAddon(hook);
  if (!addon) {
    refuse(connection, id, 'CANNOT_FORK', `cannot fork: ${missing}`);
    return;
  }
  hook.heapRuns = true;
  const { writeHeapSnapshot } = require('v8');
  const work = () => writeHeapSnapshot('/proc/self/fd/3');
  const job = { cancelled: false, cancel: null, addon, work, pause: 0, pauseCpu: 0, error: null, waitUntil: 0 };
  connection.job = job;
  const end = quiet((outcome) => {
    hook.heapRuns = false;
    connection.job = null;
    release(connection, outcome);
    tellOutcome(connection, id, job, outcome);
  });
  // What was said before must be on its way when the thread begins to write.
  connection.socket.write(Buffer.alloc(0), quiet(() => {
    connection.held = [];
    try {
      begin(connection, id, job, options, end);
    } catch (error) {
      job.error = error;
      end({ cause: 'unready' });
    }
  }));
}

/** The addon, loaded once and when it is first needed; or why it cannot be. */
function loadedAddon(hook) {
  if (hook.fork) return hook.fork;
  const missing = [];
  for (const load of waysToLoad(hook.lent)) {
    const loaded = { exports: {} };
    try {
      load(loaded);
      hook.fork = { addon: loaded.exports };
      return hook.fork;
    } catch (error) {
      missing.push(String(error.message || error));
    }
  }
  return { missing: `its addon cannot be loaded (${missing.join('; ') || 'the agent has none'})` };
}

/** Ways to the addon: beside this file, or what an agent lends to a process that it attaches to. */
function waysToLoad(lent) {
  const from = (place) => (loaded) => process.dlopen(loaded, place);
  if (!lent) return [from(require('path').join(__dirname, ADDON))];
  const ways = lent.places.map(from);
  if (lent.base64) ways.push((loaded) => loadFromBytes(loaded, Buffer.from(lent.base64, 'base64')));
  return ways;
}

/** By a file that is there for a moment, in a directory of our own. */
function loadFromBytes(loaded, bytes) {
  const fs = require('fs');
  const path = require('path');
  const directory = fs.mkdtempSync(path.join(require('os').tmpdir(), 'memwatch-'));
  const file = path.join(directory, ADDON);
  try {
    fs.writeFileSync(file, bytes, { mode: 0o700 });
    process.dlopen(loaded, file);
  } finally {
    quietly(() => fs.unlinkSync(file));
    fs.rmdirSync(directory);
  }
}

function begin(connection, id, job, options, end) {
  const { addon } = job;
  const wait = limit(options.wait_millis, MAX_QUIET_WAIT_MILLIS);
  job.waitUntil = performance.now() + wait;
  const attempt = addon.begin({
    id,
    fd: connection.socket._handle.fd,
    deadlineMillis: limit(options.deadline_millis, CHILD_DEADLINE_MILLIS),
    quietMillis: limit(options.quiet_millis, CHILD_QUIET_MILLIS),
    maxBytes: limit(options.max_bytes, 0),
    nice: limit(options.nice, CHILD_NICE),
  }, quiet((event, outcome) => {
    if (event === 'ended') end(outcome);
    else forkWhenQuiet(job, attempt);
  }));
  job.cancel = () => addon.cancel(attempt);
  if (job.cancelled) job.cancel();
}

function limit(value, otherwise) {
  return Number.isFinite(value) && value >= 0 ? value : otherwise;
}

/**
 * A thread that runs at the instant of the fork may hold what the child will wait for, in vain.
 * V8's workers sleep most of the time: an instant at which all threads do is worth waiting for.
 */
function forkWhenQuiet(job, attempt) {
  const { addon } = job;
  if (job.cancelled) return;
  if (performance.now() < job.waitUntil && addon.busyThreads() > 0) {
    setTimeout(quiet(() => forkWhenQuiet(job, attempt)), 1).unref();
    return;
  }
  try {
    const fork = addon.fork(attempt, job.work);
    job.pause = fork.pauseMillis;
    job.pauseCpu = fork.pauseCpuMillis;
  } catch (error) {
    job.error = error;
    addon.cancel(attempt);
  }
}

/** Says what had to wait for the child's last frame. */
function release(connection, outcome) {
  const held = connection.held || [];
  connection.held = null;
  if (outcome.torn) connection.socket.destroy(); // nobody could tell where a frame begins
  else for (const bytes of held) connection.socket.write(bytes);
}

function tellOutcome(connection, id, job, outcome) {
  const cost = {
    pause: 'forked',
    pause_millis: Math.round(job.pause * 1000) / 1000,
    pause_cpu_millis: Math.round(job.pauseCpu * 1000) / 1000,
    cpu_millis: Math.round((outcome.cpuMillis || 0) + job.pause),
    extra_memory_bytes: outcome.peakBytes || 0,
    duration_millis: outcome.wallMillis || 0,
  };
  if (job.error) {
    refuse(connection, id, 'CHILD_FAILED', `cannot fork: ${job.error.message}`, cost);
  } else if (job.cancelled) {
    refuse(connection, id, 'CANCELLED', 'cannot go on: it was given up', cost);
  } else if (outcome.cause) {
    const message = `cannot take a snapshot in a child: ${whyItFailed(outcome)}`;
    refuse(connection, id, 'CHILD_FAILED', message, { cause: outcome.cause, ...cost });
  } else {
    const objects = outcome.objects >= 0 ? outcome.objects : null;
    say(connection, RESULT, { id, result: { size_bytes: outcome.sizeBytes, objects, notes: workerNotes(), ...cost } });
  }
}

function whyItFailed({ cause, message, peakBytes, status }) {
  const megabytes = Math.round(peakBytes / 1e6);
  switch (cause) {
    case 'reader': return 'nobody read its bytes';
    case 'deadline': return 'it was not done by its deadline, and was ended';
    case 'quiet': return 'it hung, and was ended';
    case 'memory': return `it took ${megabytes} MB, more than it was allowed, and was ended`;
    case 'stuck': return `it could not go on: ${message}`;
    case 'threw': return message;
    case 'unready': return message || 'it could not be set up';
    default: return message ? `it crashed (${message})` : `it was ended (wait status ${status})`;
  }
}

// ---- profiles ---------------------------------------------------------------------------------

/**
 * Records for a while. The recorder is begun, asked to look now and then, and ended; whatever
 * happens, it is undone, so that nothing that it switched on stays on.
 */
function profile(connection, id, options) {
  const { hook } = connection;
  const Recorder = Object.hasOwn(RECORDERS, options.kind) ? RECORDERS[options.kind] : null;
  if (hook.heapRuns) {
    refuse(connection, id, 'BUSY', 'cannot record: a snapshot or a profile is being taken');
  } else if (!Recorder) {
    const known = Object.keys(RECORDERS).join(', ');
    refuse(connection, id, 'UNSUPPORTED', `cannot record '${options.kind}': it records ${known}`);
  } else {
    new Recording(connection, id, options, new Recorder(options, hook)).start();
  }
}

/** Why nothing is recorded, with a reason of the wire. */
class Refusal extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

/** One recording: its clock, its cost, and its way out. */
class Recording {
  constructor(connection, id, options, recorder) {
    this.connection = connection;
    this.id = id;
    this.recorder = recorder;
    this.millis = Math.min(limit(options.seconds, 30), MAX_RECORD_SECONDS) * 1000;
    this.pauseMillis = 0;
    this.cpuMicros = 0;
    this.timers = [];
    this.ended = false;
    this.job = { cancelled: false, cancel: () => this.giveUp(), stop: () => this.finish() };
  }

  start() {
    this.connection.hook.heapRuns = true;
    this.connection.job = this.job;
    this.began = performance.now();
    try {
      this.timed(() => this.recorder.begin());
    } catch (error) {
      this.fail(error);
      return;
    }
    this.tell();
    const look = Math.max(LOOK_MILLIS, this.millis / MAX_LOOKS);
    this.timers.push(setInterval(quiet(() => this.look()), look));
    this.timers.push(setTimeout(quiet(() => this.finish()), this.millis));
    for (const timer of this.timers) timer.unref();
  }

  look() {
    if (this.recorder.look) this.timed(() => this.recorder.look());
    this.tell();
  }

  tell() {
    const done = Math.round(performance.now() - this.began);
    const fields = { id: this.id, stage: 'recording', done, total: this.millis };
    say(this.connection, PROGRESS, fields);
  }

  finish() {
    if (this.ended) return;
    this.stopClocks();
    const outlet = new Outlet(this.connection.socket);
    let facts;
    try {
      facts = this.timed(() => this.recorder.end((piece) => outlet.data(piece)));
      outlet.flush();
    } catch (error) {
      this.fail(error);
      return;
    }
    outlet.drain(() => this.job.cancelled, quiet(() => {
      if (this.job.cancelled) this.fail(new Refusal('CANCELLED', 'it was given up'));
      else this.answer(facts, outlet);
    }));
  }

  answer(facts, outlet) {
    const result = {
      size_bytes: outlet.sizeBytes,
      pause_millis: rounded(this.pauseMillis),
      cpu_millis: Math.round(this.cpuMicros / 1000),
      ...facts,
    };
    this.leave();
    say(this.connection, RESULT, { id: this.id, result });
  }

  giveUp() {
    if (this.ended) return; // what still goes out hears of it by itself
    this.stopClocks();
    this.fail(new Refusal('CANCELLED', 'it was given up'));
  }

  fail(error) {
    this.stopClocks();
    this.leave();
    refuse(this.connection, this.id, error.reason || 'FAILED', `cannot record: ${error.message}`);
  }

  stopClocks() {
    this.ended = true;
    for (const timer of this.timers) clearTimeout(timer);
  }

  leave() {
    quietly(() => this.recorder.undo());
    this.connection.hook.heapRuns = false;
    this.connection.job = null;
  }

  /** Runs a part of the recorder that the app waits for. */
  timed(work) {
    const [began, before] = [performance.now(), process.cpuUsage()];
    try {
      return work();
    } finally {
      const spent = process.cpuUsage(before);
      this.pauseMillis = Math.max(this.pauseMillis, performance.now() - began);
      this.cpuMicros += spent.user + spent.system;
    }
  }
}

/** An inspector session within the process: no port is opened. */
class Inspected {
  constructor(hook) {
    this.hook = hook;
    this.session = null;
  }

  connect() {
    let inspector;
    try {
      inspector = require('inspector');
    } catch (error) {
      throw new Refusal('UNSUPPORTED', `this Node was built without an inspector (${error.message})`);
    }
    this.session = new inspector.Session();
    this.session.connect();
  }

  /** The answer to a command; those that are used here are answered at once. */
  ask(method, params) {
    let answer;
    this.session.post(method, params, (error, result) => { answer = { error, result }; });
    if (!answer) throw new Error(`${method} is not answered`);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result;
  }

  undo() {
    if (!this.session) return;
    this.hook.idsForgotten += 1; // V8 numbers all objects anew when a session ends
    this.session.disconnect();
    this.session = null;
  }
}

/** V8's sampling heap profiler: of one allocation in so many bytes the stack, while it is alive. */
class Sampling extends Inspected {
  constructor(options, hook) {
    super(hook);
    this.interval = limit(options.sampling_interval_bytes, SAMPLING_INTERVAL_BYTES);
    this.maxBytes = limit(options.max_bytes, MAX_PROFILE_BYTES);
    this.frames = Math.max(1, limit(options.frames, MAX_FRAMES));
  }

  begin() {
    this.connect();
    // The profiler is one for the whole process: to start ours would take over another's.
    if (quietly(() => this.ask('HeapProfiler.getSamplingProfile'))) {
      throw new Refusal('BUSY', 'another sampling heap profiler runs in the process');
    }
    this.ask('HeapProfiler.startSampling', { samplingInterval: Math.max(1, this.interval) });
  }

  end(send) {
    const { profile: found } = this.ask('HeapProfiler.stopSampling');
    const kept = this.frames < MAX_FRAMES ? withInnermost(found, this.frames) : found;
    const bytes = Buffer.from(JSON.stringify({ ...kept, samplingInterval: this.interval }));
    if (bytes.length > this.maxBytes) {
      const limits = `it has ${bytes.length} bytes, the limit is ${this.maxBytes}`;
      throw new Error(`${limits}; sample less often`);
    }
    send(bytes);
    const note = `one sample in ${this.interval} bytes; what was collected meanwhile is not in it`;
    return { content_type: 'application/vnd.v8.heapprofile+json', extension: 'heapprofile', notes: [note] };
  }
}

/** A sampled tree in which each stack has its innermost frames alone; equal stacks become one. */
function withInnermost({ head, samples }, frames) {
  const root = { ...head, id: 1, children: [] };
  const moved = new Map([[head.id, root]]);
  const inner = new Map([[root, new Map()]]); // of each node, its children by place
  let lastId = root.id;
  const below = (node, { callFrame }) => {
    const place = JSON.stringify(callFrame);
    const known = inner.get(node);
    if (!known.has(place)) {
      const made = { callFrame, selfSize: 0, id: lastId += 1, children: [] };
      known.set(place, made);
      inner.set(made, new Map());
      node.children.push(made);
    }
    return known.get(place);
  };
  const visit = (node, path) => {
    for (const child of node.children) {
      const stack = [...path, child].slice(-frames);
      if (child.selfSize > 0) {
        const place = stack.reduce(below, root);
        place.selfSize += child.selfSize;
        moved.set(child.id, place);
      }
      visit(child, stack);
    }
  };
  visit(head, []);
  const placed = (samples || []).filter(({ nodeId }) => moved.has(nodeId));
  return { head: root, samples: placed.map((one) => ({ ...one, nodeId: moved.get(one.nodeId).id })) };
}

/** V8's allocation timeline: ends with a snapshot, in which each new object knows its stack. */
class Timeline extends Inspected {
  constructor(options, hook) {
    super(hook);
    this.collects = Boolean(options.gc);
  }

  begin() {
    this.connect();
    if (this.collects) this.ask('HeapProfiler.collectGarbage');
    this.ask('HeapProfiler.startTrackingHeapObjects', { trackAllocations: true });
  }

  end(send) {
    const before = costNow();
    this.session.on('HeapProfiler.addHeapSnapshotChunk', quiet(({ params }) => {
      send(Buffer.from(params.chunk));
    }));
    this.ask('HeapProfiler.stopTrackingHeapObjects', { reportProgress: false });
    const after = costNow();
    return {
      content_type: 'application/vnd.v8.heapsnapshot+json',
      extension: 'heapsnapshot',
      extra_memory_bytes: Math.max(0, after.highestRssBytes - Math.max(before.rssBytes, before.highestRssBytes)),
      notes: [
        'while it ran, code that allocates was up to 70 times slower',
        'ended with a snapshot, for which the process stood still',
      ],
    };
  }
}

/** Figures of V8, of the collector and of the event loop, looked at now and then. */
class Statistics {
  constructor() {
    this.looks = [];
    this.collections = {};
  }

  begin() {
    const { PerformanceObserver, monitorEventLoopDelay } = require('perf_hooks');
    this.observer = new PerformanceObserver(quiet((list) => this.count(list.getEntries())));
    this.observer.observe({ entryTypes: ['gc'] });
    this.delay = monitorEventLoopDelay({ resolution: 10 });
    this.delay.enable();
    this.loop = performance.eventLoopUtilization();
    this.look();
  }

  count(entries) {
    for (const { duration, detail } of entries) {
      const name = COLLECTIONS[detail && detail.kind] || 'other';
      const sum = this.collections[name] || (this.collections[name] = { count: 0, millis: 0 });
      sum.count += 1;
      sum.millis = rounded(sum.millis + duration);
    }
  }

  look() {
    const now = performance.eventLoopUtilization();
    const loop = performance.eventLoopUtilization(now, this.loop);
    this.loop = now;
    const millis = (nanos) => rounded((Number.isFinite(nanos) ? nanos : 0) / 1e6);
    const { delay } = this;
    const longest = delay.count === 0 ? 0 : delay.max;
    this.looks.push({
      ...stats(),
      time_millis: Date.now(),
      cpu_millis: Math.round((({ user, system }) => user + system)(process.cpuUsage()) / 1000),
      gc: JSON.parse(JSON.stringify(this.collections)),
      event_loop: {
        utilization: rounded(loop.utilization),
        delay_p50_millis: millis(delay.percentile(50)),
        delay_p99_millis: millis(delay.percentile(99)),
        delay_max_millis: millis(longest),
      },
    });
    delay.reset();
  }

  end(send) {
    const [last] = this.looks.slice(-1);
    if (Date.now() - last.time_millis > 100) this.look();
    send(Buffer.from(JSON.stringify({ format: 1, kind: 'stats', runtime: 'node', looks: this.looks })));
    return { content_type: 'application/json', extension: 'json', notes: [] };
  }

  undo() {
    if (this.observer) this.observer.disconnect();
    if (this.delay) this.delay.disable();
  }
}

const RECORDERS = { sampling: Sampling, 'node-allocations': Timeline, stats: Statistics };

// ---- near the heap's limit --------------------------------------------------------------------

/**
 * Keeps a black box: what the heap was when it came near V8's limit, in a file that is there when
 * the process is not. MEMWATCH_NEAR_LIMIT: off, stats (the default: figures, and where there is
 * memory a count of objects by class, made in a forked child), snapshot (that, and a snapshot).
 *
 * Figures are kept from 70 % of the limit on, after collections. The rest is written in a child
 * that the addon forks when V8 says that the limit is met; where that cannot be had, earlier.
 */
function watchLimit(hook, directory, socket) {
  const mode = process.env.MEMWATCH_NEAR_LIMIT || 'stats';
  tidyBoxes(directory);
  if (mode !== 'stats' && mode !== 'snapshot') return;
  const box = new BlackBox(hook, directory, socket, mode);
  box.unarmed = quietly(() => box.arm()) ?? 'it could not be asked for';
  const { PerformanceObserver } = require('perf_hooks');
  // Told of each collection, when the loop turns: what leaks without a turn is not seen.
  const observer = new PerformanceObserver(quiet((list) => {
    // Minor collections (1 and 2) say nothing of the whole heap.
    if (list.getEntries().some(({ detail }) => detail && detail.kind > 2)) box.look();
  }));
  observer.observe({ entryTypes: ['gc'] });
  process.once('exit', quiet(() => box.discard()));
}

/** Removes all but the newest boxes of processes that nobody asked about. */
function tidyBoxes(directory) {
  const fs = require('fs');
  fs.readdir(directory, quiet((error, names) => {
    if (error) return;
    const millis = (name) => Number(name.split('-')[3]);
    const boxes = names.filter((name) => /^node-\d+-\d+-\d+-near-limit\.profile(\.json)?$/.test(name));
    boxes.sort((one, other) => millis(other) - millis(one));
    for (const name of boxes.slice(2 * MAX_BOXES, 2 * MAX_BOXES + MAX_LEFTOVERS)) {
      fs.unlink(require('path').join(directory, name), () => {});
    }
  }));
}

class BlackBox {
  constructor(hook, directory, socket, mode) {
    this.hook = hook;
    this.directory = directory;
    this.socket = socket;
    this.mode = mode;
    this.prefix = `node-${process.pid}-${hook.ticks}`;
    this.limit = oldSpaceLimit();
    this.step = 0;
    this.looks = [];
    this.classes = null;
    this.countedAt = -Infinity;
    this.tries = 0;
    this.why = '';
    this.kept = { figures: '', snapshot: '' }; // stems of what lies in the directory
    this.snapshots = 0;
    this.unarmed = ''; // why V8 does not tell of its limit
    this.metAt = 0;
    this.pauseMillis = 0;
    this.noSnapshot = '';
  }

  /** Has V8 tell when its limit is met; says why it cannot. */
  arm() {
    // V8 asks only the last one who wanted to know: Node's own ways come first.
    if (/--heap-?(snapshot|prof)-near-heap-limit/.test(ownFlags().join(' '))) {
      return 'the process writes its own file near the limit';
    }
    const { addon, missing } = loadedAddon(this.hook);
    if (!addon) return missing;
    if (!addon.watchLimit) return 'its addon is an older one';
    const [waitMillis, deadlineMillis] = LIMIT_MILLIS[this.mode];
    const where = { directory: this.directory, prefix: `${this.prefix}-` };
    const write = (at, pause) => this.inLastChild(addon, at, pause);
    return addon.watchLimit({ waitMillis, deadlineMillis, ...where }, write);
  }

  /** Runs in a child, when the limit was met: what comes first is certain, the rest is tried. */
  inLastChild(addon, at, pauseMillis) {
    this.metAt = at;
    this.pauseMillis = rounded(pauseMillis);
    this.looks.push({ ...stats(), time_millis: at });
    this.why = 'the child that counted them did not come to its end';
    this.write();
    this.forgetOthers();
    const used = process.memoryUsage().heapUsed;
    this.why = shortOf(CLASSES_PER_HEAP * used + CLASSES_BYTES);
    addon.boundMemory(freeMemory() / 2);
    if (!this.why) this.classes = classCounts();
    this.write();
    if (this.mode === 'snapshot') this.lastSnapshot(used);
  }

  lastSnapshot(used) {
    const missing = shortOf(SNAPSHOT_PER_HEAP * used);
    if (missing) {
      this.noSnapshot = missing;
      this.write();
      return;
    }
    const stem = this.stem();
    this.kept.snapshot = stem;
    require('v8').writeHeapSnapshot(`${stem}.profile`);
    const { size } = require('fs').statSync(`${stem}.profile`);
    this.describe(stem, size, 'application/vnd.v8.heapsnapshot+json', 'heapsnapshot');
  }

  look() {
    const whole = require('v8').getHeapStatistics();
    const share = whole.used_heap_size / Math.min(this.limit, whole.heap_size_limit);
    if (share < BOX_RECOVERED && this.step > 0) {
      this.discard();
      this.step = 0;
      this.looks = [];
    }
    if (!(share >= BOX_SHARES[this.step])) return;
    while (share >= BOX_SHARES[this.step]) this.step += 1;
    this.looks.push({ ...stats(), time_millis: Date.now() });
    if (this.others().length) return; // a child knows more than this
    this.write();
    if (this.unarmed) this.count(whole.used_heap_size);
  }

  /** Figures and classes as they are known now, in place of what was written before. */
  write() {
    const text = JSON.stringify({
      format: 1,
      kind: 'near-limit',
      runtime: 'node',
      looks: this.looks.slice(-BOX_SHARES.length),
      classes: this.classes,
      classes_missing: this.classes ? '' : this.why,
      ...(this.noSnapshot ? { snapshot_missing: this.noSnapshot } : {}),
    });
    const stem = this.stem();
    require('fs').writeFileSync(`${stem}.profile`, text, { mode: 0o600 });
    this.describe(stem, Buffer.byteLength(text), 'application/json', 'json');
    this.forget('figures', stem);
  }

  /** Each file has a time of its own. */
  stem() {
    const taken = Object.values(this.kept);
    let millis = this.metAt || Date.now();
    const named = () => require('path').join(this.directory, `${this.prefix}-${millis}-near-limit`);
    while (taken.includes(named())) millis += 1;
    return named();
  }

  /** The description comes last: without it a file is nobody's. */
  describe(stem, size, type, extension) {
    const who = this.metAt ? 'written by a forked child when the limit of its heap was met'
      : 'kept by the process when it came near its heap\'s limit';
    const notes = this.unarmed ? [who, `V8 does not tell when its limit is met: ${this.unarmed}`] : [who];
    const facts = { size_bytes: size, content_type: type, extension, pause_millis: this.pauseMillis, cpu_millis: 0 };
    const text = JSON.stringify({ ...facts, ended_millis: Date.now(), notes });
    require('fs').writeFileSync(`${stem}.profile.json`, text, { mode: 0o600 });
  }

  forget(what, stem) {
    const old = this.kept[what];
    this.kept[what] = stem;
    if (!old || old === stem) return;
    for (const end of ['.profile.json', '.profile']) quietly(() => require('fs').unlinkSync(old + end));
  }

  /** What children of this process have written, or left. */
  others() {
    const names = require('fs').readdirSync(this.directory).filter((name) => name.startsWith(`${this.prefix}-`));
    const paths = names.map((name) => require('path').join(this.directory, name));
    const kept = Object.values(this.kept).filter(Boolean);
    return paths.filter((path) => /-near-limit\.profile(\.json)?$/.test(path)
      && !kept.some((stem) => path.startsWith(stem)));
  }

  forgetOthers() {
    for (const path of this.others()) quietly(() => require('fs').unlinkSync(path));
  }

  discard() {
    this.forget('figures', '');
    this.forget('snapshot', '');
    quietly(() => this.forgetOthers());
  }

  /** Counts objects by class in a forked child, then takes the snapshot, if it is wanted. */
  count(used) {
    if (performance.now() - this.countedAt < BOX_QUIET_MILLIS) return;
    this.countedAt = performance.now();
    const file = require('path').join(this.directory, `${this.prefix}.part`);
    const work = () => {
      require('fs').writeFileSync(file, JSON.stringify(classCounts()), { mode: 0o600 });
    };
    this.inChild(work, CLASSES_PER_HEAP * used + CLASSES_BYTES, (why) => {
      const found = quietly(() => JSON.parse(require('fs').readFileSync(file, 'utf8')));
      quietly(() => require('fs').unlinkSync(file));
      if (found) this.classes = found;
      this.why = found ? '' : why || 'the child did not end well';
      this.tries = found ? 0 : this.tries + 1;
      // What holds a child up is a collection in the background: there is a quieter instant.
      if (!found && this.tries < BOX_TRIES) {
        this.countedAt = -Infinity;
        this.count(used);
        return;
      }
      this.write();
      if (this.mode === 'snapshot') this.snapshot(used);
    });
  }

  snapshot(used) {
    if (this.snapshots > 0) return;
    this.snapshots += 1;
    const stem = this.stem();
    const work = () => require('v8').writeHeapSnapshot(`${stem}.profile`);
    this.inChild(work, SNAPSHOT_PER_HEAP * used, (why, ended) => {
      const size = quietly(() => require('fs').statSync(`${stem}.profile`).size);
      if (ended && size > 0) {
        this.describe(stem, size, 'application/vnd.v8.heapsnapshot+json', 'heapsnapshot');
        this.forget('snapshot', stem);
      } else {
        quietly(() => require('fs').unlinkSync(`${stem}.profile`));
      }
    });
  }

  /** Does some work in a forked child, where there is memory for it; `done` hears why not. */
  inChild(work, needed, done) {
    const { addon, missing } = loadedAddon(this.hook);
    if (!addon) return void done(missing);
    if (this.hook.heapRuns) return void done('another snapshot is being taken');
    const short = shortOf(needed);
    if (short) return void done(short);
    const room = freeMemory();
    this.hook.heapRuns = true;
    // The child writes its file itself. The addon tells a reader of its progress: our own server.
    const reader = require('net').connect({ path: this.socket });
    reader.unref();
    reader.once('error', quiet((error) => {
      this.hook.heapRuns = false;
      done(error.message);
    }));
    reader.once('connect', quiet(() => this.begin(addon, reader, room, work, done)));
    return undefined;
  }

  begin(addon, reader, room, work, done) {
    const waitUntil = performance.now() + MAX_QUIET_WAIT_MILLIS;
    const job = { cancelled: false, addon, work, pause: 0, error: null, waitUntil };
    const bounds = { deadlineMillis: BOX_DEADLINE_MILLIS, quietMillis: CHILD_QUIET_MILLIS, nice: 0 };
    const fd = reader._handle.fd;
    const attempt = addon.begin({ id: 0, fd, ...bounds, maxBytes: Math.round(room / 2) }, quiet((event, outcome) => {
      if (event !== 'ended') {
        forkWhenQuiet(job, attempt);
        return;
      }
      this.hook.heapRuns = false;
      reader.destroy();
      done(job.error ? job.error.message : outcome.message || outcome.cause, outcome.status === 0);
    }));
  }
}

function ownFlags() {
  return [...(process.env.NODE_OPTIONS || '').split(/\s+/), ...process.execArgv];
}

/** What is missing of the memory that a piece of work in a child takes; empty where nothing is. */
function shortOf(needed) {
  const room = freeMemory();
  return room < needed ? `there is no memory for it: ${Math.round(needed)} bytes needed, ${room} free` : '';
}

/** What --max-old-space-size says in bytes: V8 dies of that, although its own limit has room for
 * young objects too; Infinity where nobody said it. */
function oldSpaceLimit() {
  const sizes = ownFlags().map((word) => /^--max[-_]old[-_]space[-_]size=(\d+)$/.exec(word)).filter(Boolean);
  const [last] = sizes.slice(-1);
  return last && Number(last[1]) > 0 ? Number(last[1]) * 1024 * 1024 : Infinity;
}

/** How many objects of each class there are; runs in the child. Memory: a pointer for each. */
function classCounts() {
  const inspected = new Inspected({});
  inspected.connect();
  const expression = 'Object.prototype';
  const { result } = inspected.ask('Runtime.evaluate', { expression });
  const all = inspected.ask('Runtime.queryObjects', { prototypeObjectId: result.objectId });
  const found = inspected.ask('Runtime.callFunctionOn', {
    objectId: all.objects.objectId,
    returnByValue: true,
    functionDeclaration: `function () {
      const counts = new Map();
      for (const one of this) {
        let name = '?';
        try {
          const maker = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(one), 'constructor');
          name = maker && typeof maker.value === 'function' ? maker.value.name : 'Object';
        } catch {}
        counts.set(name, (counts.get(name) || 0) + 1);
      }
      return { objects: this.length, classes: counts.size, rows: [...counts]
        .sort((a, b) => b[1] - a[1]).slice(0, 200).map(([name, count]) => [String(name).slice(0, 200), count]) };
    }`,
  });
  return { time_millis: Date.now(), ...found.result.value };
}

/** Bytes that the process and its child may still take, by the machine and every cgroup above. */
function freeMemory() {
  const fs = require('fs');
  const read = (path) => quietly(() => fs.readFileSync(path, 'utf8')) || '';
  const free = [Number((/MemAvailable:\s+(\d+)/.exec(read('/proc/meminfo')) || [])[1]) * 1024];
  for (const line of read('/proc/self/cgroup').split('\n')) {
    const [, kinds, path] = line.split(':');
    if (path === undefined || (kinds !== '' && !kinds.split(',').includes('memory'))) continue;
    const [base, limitFile, usageFile] = kinds === ''
      ? ['/sys/fs/cgroup', 'memory.max', 'memory.current']
      : ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes'];
    // In a container the path may be of the host: then the root is the container's own.
    const parts = path.split('/').filter(Boolean);
    for (let depth = parts.length; depth >= 0; depth -= 1) {
      const folder = [base, ...parts.slice(0, depth)].join('/');
      const [most, used] = [parseInt(read(`${folder}/${limitFile}`), 10), parseInt(read(`${folder}/${usageFile}`), 10)];
      if (most > 0 && used >= 0) free.push(most - used);
    }
  }
  const known = free.filter((bytes) => Number.isFinite(bytes));
  return known.length ? Math.max(0, Math.min(...known)) : 0;
}

// ---- the ways in -----------------------------------------------------------------------------

/**
 * For an agent that has put this file into a process through its inspector: connects to the agent
 * instead of listening. When that connection ends, all that is left in the process is the addon,
 * if a snapshot was forked: `lent` says where it is found.
 */
function dial(port, token, lent) {
  const hook = newHook(lent || { places: [], base64: '' });
  const socket = require('net').connect({ host: '127.0.0.1', port });
  socket.unref();
  socket.on('error', () => {});
  socket.once('connect', quiet(() => {
    socket.write(token);
    accept(hook, socket);
  }));
}

if (module.injected) {
  module.exports = { dial };
} else {
  quietly(() => {
    if (!isWanted()) return;
    globalThis[MARK] = HOOK_VERSION;
    watchWorkers();
    setImmediate(quiet(start));
  });
}
