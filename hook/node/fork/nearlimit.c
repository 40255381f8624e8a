/*
 * V8's near-heap-limit callback: a child that writes what the heap was, before the process dies.
 *
 * The callback is V8's C++, found by its mangled name: it is no part of Node-API, and where a Node
 * does not have it JavaScript is told so. V8 calls it within a garbage collection, where nothing may
 * run. So it raises the limit a little and asks V8 for an interrupt, which comes when the app's own
 * code goes on; there the process is forked, and the child runs JavaScript. When V8 comes to the
 * raised limit while the child still writes, the process, which would die at once, waits for it.
 */
#include "fork.h"

#include "calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  /* V8 wants room for all young objects on top of the old ones: at most 48 MiB by default. */
  MIN_RAISE_BYTES = 32 << 20,
  MAX_RAISE_BYTES = 128 << 20,
  /* Of the limit: a twentieth. */
  RAISE_SHARE = 20,
  /* For an interrupt that does not come, since a single call of the app's takes the memory. */
  MAX_RAISES = 3,
  MAX_TRIES = 4,
  /* A process that goes to its limit and comes back again and again. */
  MAX_APPROACHES = 10,
  BETWEEN_APPROACHES_MILLIS = 30000,
  QUIET_WAIT_MILLIS = 250,
  CHILD_SLEEPS_MILLIS = 3000,
  WAIT_STEP_MILLIS = 5,
  WATCH_STACK_BYTES = 256 * 1024,
  PATH_BYTES = 4096,
};

typedef size_t (*limit_callback)(void *data, size_t current, size_t initial);
typedef void (*interrupt_callback)(void *isolate, void *data);

/* v8::Isolate's members; `this` is the first argument. The same names in Node 18 to 26. */
static struct {
  void *(*current)(void);
  void (*add)(void *isolate, limit_callback callback, void *data);
  void (*restore)(void *isolate, double share);
  void (*interrupt)(void *isolate, interrupt_callback callback, void *data);
} v8;

enum state {
  STATE_OFF,
  STATE_ARMED,
  STATE_ASKED,   /* the limit is raised, and an interrupt is under way */
  STATE_WRITING, /* a child writes */
  STATE_WRITTEN, /* or is given up */
};

/* There is one V8 that the process dies of: the main thread's. */
static struct {
  atomic_int state;
  atomic_bool closing;
  bool is_child;
  napi_env env;
  napi_ref write;
  void *isolate;
  char directory[PATH_BYTES], prefix[64]; /* of the files that are left */
  int raises, tries, approaches;
  int64_t wait_millis;
  int64_t asked, forked; /* by the monotonic clock */
  double asked_at;       /* Unix time, which names the files */
  bool thread_runs;
  pthread_t thread;
  int ends[2]; /* the watch talks to itself: nobody else wants to hear it */
  struct words *words;
  struct limits limits;
  struct watch watch;
} box;

static int64_t now_millis(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static double unix_millis(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return (double)time.tv_sec * 1e3 + (double)(time.tv_nsec / 1000000);
}

static void sleep_millis(long millis) {
  struct timespec time = {0, millis * 1000000};
  nanosleep(&time, NULL);
}

/* ---- the child -------------------------------------------------------------------------------- */

static void on_interrupt(void *isolate, void *data);

/* Passes nothing on; watches the child, reaps it, and asks for another one where that may help. */
static void *watch_thread(void *unused) {
  (void)unused;
  watch_run(&box.watch);
  close(box.watch.input);
  bool again = box.watch.cause == CAUSE_STUCK || box.watch.cause == CAUSE_QUIET ||
               box.watch.cause == CAUSE_CRASHED;
  if (!again || box.tries >= MAX_TRIES || atomic_load(&box.closing)) {
    atomic_store(&box.state, STATE_WRITTEN);
    return NULL;
  }
  atomic_store(&box.state, STATE_ASKED);
  v8.interrupt(box.isolate, on_interrupt, NULL);
  return NULL;
}

static int start_watch(void) {
  sigset_t all, before;
  pthread_attr_t attributes;
  sigfillset(&all);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, WATCH_STACK_BYTES);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&box.thread, &attributes, watch_thread, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  box.thread_runs = error == 0;
  return error;
}

static void join_watch(void) {
  if (box.thread_runs) pthread_join(box.thread, NULL);
  box.thread_runs = false;
}

/* The arguments of `write`: when the limit was met, and how long the app stood still for the fork. */
static _Noreturn void be_writer(int output, pid_t parent) {
  napi_handle_scope scope;
  napi_value write = NULL, arguments[2];
  box.is_child = true;
  if (napi_open_handle_scope(box.env, &scope) != napi_ok ||
      napi_get_reference_value(box.env, box.write, &write) != napi_ok || write == NULL)
    _exit(CHILD_UNREADY);
  napi_create_double(box.env, box.asked_at, &arguments[0]);
  napi_create_double(box.env, (double)(now_millis() - box.forked), &arguments[1]);
  const struct child child = {output, parent, &box.limits, box.words};
  child_call(box.env, &child, write, 2, arguments);
}

/* Forks; returns 0, or an errno. */
static int fork_writer(void) {
  struct ranges ranges = {0};
  int ends[2];
  if (child_prepare() == 0) return ENOSYS;
  int error = ranges_read(&ranges);
  if (error == 0 && pipe2(ends, O_CLOEXEC) != 0) error = errno;
  if (error != 0) {
    ranges_free(&ranges);
    return error;
  }
  pid_t parent = getpid(), child = -1;
  error = inherit_begin(&ranges);
  if (error == 0 && (child = fork()) == 0) be_writer(ends[1], parent);
  if (child < 0 && error == 0) error = errno;
  inherit_end(&ranges);
  ranges_free(&ranges);
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    return error;
  }
  (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
  memset(&box.watch, 0, sizeof box.watch);
  box.watch.child = child;
  box.watch.input = ends[0];
  box.watch.socket = box.ends[0];
  box.watch.limits = box.limits;
  box.watch.words = box.words;
  atomic_store(&box.state, STATE_WRITING);
  return start_watch();
}

/* Comes in the app's thread, between two steps of its code. */
static void on_interrupt(void *isolate, void *data) {
  (void)isolate, (void)data;
  if (box.is_child || atomic_load(&box.state) != STATE_ASKED || atomic_load(&box.closing)) return;
  join_watch();
  box.tries++;
  box.forked = now_millis();
  while (now_millis() - box.forked < QUIET_WAIT_MILLIS && busy_threads() > 0) sleep_millis(1);
  if (fork_writer() != 0) atomic_store(&box.state, STATE_WRITTEN);
}

/* ---- the callback ----------------------------------------------------------------------------- */

static size_t raised(size_t limit) {
  size_t more = limit / RAISE_SHARE;
  if (more < MIN_RAISE_BYTES) more = MIN_RAISE_BYTES;
  return limit + (more > MAX_RAISE_BYTES ? MAX_RAISE_BYTES : more);
}

/* The limit is where it was at first: this is another approach, after a recovery. */
static bool may_approach(size_t current, size_t initial) {
  if (atomic_load(&box.state) == STATE_ARMED) return true;
  return current <= initial && box.approaches < MAX_APPROACHES &&
         now_millis() - box.asked > BETWEEN_APPROACHES_MILLIS;
}

static size_t approach(size_t current) {
  box.approaches++;
  box.raises = 1;
  box.tries = 0;
  box.asked = now_millis();
  box.asked_at = unix_millis();
  atomic_store(&box.state, STATE_ASKED);
  v8.restore(box.isolate, 0.95); /* where a collection brings it below that, the old limit holds */
  v8.interrupt(box.isolate, on_interrupt, NULL);
  /* V8 may end the process without asking again; a child replaces this. */
  figures_leave(box.directory, box.prefix, current, "it died before a child could write");
  return raised(current);
}

static void wait_for_writer(void) {
  int64_t until = box.asked + box.wait_millis;
  while (atomic_load(&box.state) == STATE_WRITING && now_millis() < until)
    sleep_millis(WAIT_STEP_MILLIS);
}

/* V8 asks within a collection whether there may be more; the same limit again ends the process. */
static size_t on_near_limit(void *data, size_t current, size_t initial) {
  (void)data;
  if (box.is_child) return current + (current > MAX_RAISE_BYTES ? current / 2 : MAX_RAISE_BYTES);
  if (atomic_load(&box.closing)) return current;
  if (atomic_load(&box.state) == STATE_WRITING) wait_for_writer();
  enum state state = atomic_load(&box.state);
  if (state == STATE_ASKED && box.raises++ < MAX_RAISES) return raised(current);
  if (state == STATE_ASKED || state == STATE_WRITING || !may_approach(current, initial))
    return current;
  return approach(current);
}

/* ---- the calls -------------------------------------------------------------------------------- */

static bool find_v8(void) {
  const struct {
    void *at;
    const char *name;
  } FUNCTIONS[] = {
      {&v8.current, "_ZN2v87Isolate10GetCurrentEv"},
      {&v8.add, "_ZN2v87Isolate24AddNearHeapLimitCallbackEPFmPvmmES1_"},
      {&v8.restore, "_ZN2v87Isolate36AutomaticallyRestoreInitialHeapLimitEd"},
      {&v8.interrupt, "_ZN2v87Isolate16RequestInterruptEPFvPS0_PvES2_"},
  };
  for (size_t at = 0; at < sizeof FUNCTIONS / sizeof *FUNCTIONS; at++) {
    void *found = dlsym(RTLD_DEFAULT, FUNCTIONS[at].name);
    if (found == NULL) return false;
    memcpy(FUNCTIONS[at].at, &found, sizeof found);
  }
  return true;
}

static void on_environment_ends(void *unused) {
  (void)unused;
  atomic_store(&box.closing, true);
  if (box.thread_runs) box.watch.cancelled = 1;
  join_watch();
}

static void get_text(napi_env env, napi_value object, const char *name, char *text, size_t size) {
  napi_value value;
  if (napi_get_named_property(env, object, name, &value) != napi_ok ||
      napi_get_value_string_utf8(env, value, text, size, NULL) != napi_ok)
    text[0] = '\0';
}

static napi_value say_why(napi_env env, const char *why) {
  napi_value text;
  napi_create_string_utf8(env, why, NAPI_AUTO_LENGTH, &text);
  return text;
}

napi_value WatchLimit(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (atomic_load(&box.state) != STATE_OFF) return say_why(env, "it is watched already");
  if (!find_v8()) return say_why(env, "this V8 tells nobody of its limit");
  if (child_prepare() == 0) return say_why(env, "this Node has no dynamic C library");
  box.isolate = v8.current();
  void *page = mmap(NULL, sizeof(struct words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0);
  if (box.isolate == NULL || page == MAP_FAILED) return say_why(env, strerror(ENOMEM));
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, box.ends) != 0)
    return say_why(env, strerror(errno));
  box.words = page;
  box.env = env;
  box.limits.deadline_millis = (uint64_t)get_number(env, arguments[0], "deadlineMillis");
  box.limits.quiet_millis = CHILD_SLEEPS_MILLIS;
  box.wait_millis = (int64_t)get_number(env, arguments[0], "waitMillis");
  get_text(env, arguments[0], "directory", box.directory, sizeof box.directory);
  get_text(env, arguments[0], "prefix", box.prefix, sizeof box.prefix);
  napi_create_reference(env, arguments[1], 1, &box.write);
  napi_add_env_cleanup_hook(env, on_environment_ends, NULL);
  atomic_store(&box.state, STATE_ARMED);
  v8.add(box.isolate, on_near_limit, NULL);
  return say_why(env, "");
}

/* For a child that learns only by its JavaScript how much it may take. */
napi_value BoundMemory(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value arguments[1];
  double bytes = 0;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (napi_get_value_double(env, arguments[0], &bytes) == napi_ok && box.is_child && bytes > 0)
    child_bound_memory((uint64_t)bytes);
  return NULL;
}
