/*
 * What JavaScript sees of the fork; Node-API version 8, so one file for Node 18 and every later one.
 *
 *   begin({fd, id, deadlineMillis, quietMillis, maxBytes, nice}, notify) → attempt
 *       starts the watching thread; it calls notify('ready'), and notify('ended', outcome) at last
 *   busyThreads() → how many other threads of the process run at this instant
 *   fork(attempt, write) → {pid, pauseMillis, pauseCpuMillis}
 *       once it is ready; `write` runs in the child, with descriptor 3 as the way out
 *   cancel(attempt)   ends it, wherever it is; 'ended' still comes
 *   watchLimit, boundMemory: nearlimit.c
 */
#include "calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  THREAD_STACK_BYTES = 256 * 1024,
  /* Fewer pieces for the reader to wake up for; the kernel may refuse, which is no harm. */
  PIPE_BYTES = 1024 * 1024,
  /* More threads than this are not looked at. */
  MAX_THREADS = 1024,
};

enum phase { PHASE_PREPARING, PHASE_READY, PHASE_FORKED, PHASE_ENDED };

/* One try at one snapshot. The thread and JavaScript both hold it; the last one frees it. */
struct attempt {
  napi_env env;
  napi_threadsafe_function notify;
  pthread_t thread;
  sem_t go; /* posted when the child is there, or never will be */
  volatile enum phase phase;
  int holders;
  bool thread_runs;
  volatile bool inheritable; /* V8's memory is, until the thread marks it again */
  int calls; /* that a child must not make */
  int error; /* of preparing */
  struct ranges ranges;
  struct words *words;
  struct watch watch;
};

/* ---- the thread ------------------------------------------------------------------------------- */

static void *attempt_thread(void *data) {
  struct attempt *attempt = data;
  attempt->calls = child_prepare();
  attempt->error = ranges_read(&attempt->ranges);
  attempt->phase = PHASE_READY;
  napi_call_threadsafe_function(attempt->notify, (void *)PHASE_READY, napi_tsfn_nonblocking);
  while (sem_wait(&attempt->go) != 0 && errno == EINTR) continue;
  /* Thousands of calls, for which the event loop need not wait. */
  if (attempt->inheritable) inherit_end(&attempt->ranges);
  if (attempt->watch.child > 0) watch_run(&attempt->watch);
  else attempt->watch.cause = CAUSE_CANCELLED;
  if (attempt->watch.input >= 0) close(attempt->watch.input);
  if (attempt->watch.socket >= 0) close(attempt->watch.socket);
  attempt->watch.input = attempt->watch.socket = -1;
  napi_call_threadsafe_function(attempt->notify, (void *)PHASE_ENDED, napi_tsfn_nonblocking);
  return NULL;
}

/* Starts the thread with every signal blocked: the app's handlers run on the app's threads. */
static int start_thread(struct attempt *attempt) {
  sigset_t all, before;
  pthread_attr_t attributes;
  sigfillset(&all);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&attempt->thread, &attributes, attempt_thread, attempt);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  attempt->thread_runs = error == 0;
  return error;
}

static void stop_thread(struct attempt *attempt) {
  if (!attempt->thread_runs) return;
  attempt->watch.cancelled = 1;
  sem_post(&attempt->go);
  pthread_join(attempt->thread, NULL);
  attempt->thread_runs = false;
}

/* ---- an attempt's life ------------------------------------------------------------------------ */

static struct attempt *attempt_new(napi_env env) {
  struct attempt *attempt = calloc(1, sizeof *attempt);
  if (attempt == NULL) return NULL;
  void *page = mmap(NULL, sizeof(struct words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0);
  if (page == MAP_FAILED) {
    free(attempt);
    return NULL;
  }
  attempt->env = env;
  attempt->words = page;
  attempt->watch.words = page;
  attempt->watch.input = attempt->watch.socket = -1;
  sem_init(&attempt->go, 0, 0);
  return attempt;
}

/* Both holders live on the JavaScript thread. */
static void attempt_release(struct attempt *attempt) {
  if (--attempt->holders > 0) return;
  sem_destroy(&attempt->go);
  ranges_free(&attempt->ranges);
  munmap(attempt->words, sizeof(struct words));
  free(attempt);
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  attempt_release(data);
}

/* The app ends, or a worker thread does, while a child runs. */
static void on_environment_ends(void *data) { stop_thread(data); }

static void on_notifier_gone(napi_env env, void *data, void *hint) {
  (void)hint;
  struct attempt *attempt = data;
  stop_thread(attempt);
  napi_remove_env_cleanup_hook(env, on_environment_ends, attempt);
  attempt_release(attempt);
}

/* ---- values ----------------------------------------------------------------------------------- */

static void set_number(napi_env env, napi_value object, const char *name, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  napi_set_named_property(env, object, name, value);
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, object, name, value);
}

double get_number(napi_env env, napi_value object, const char *name) {
  napi_value value;
  double number = 0;
  if (napi_get_named_property(env, object, name, &value) != napi_ok ||
      napi_get_value_double(env, value, &number) != napi_ok || !(number > 0))
    return 0;
  return number;
}

static napi_value throw(napi_env env, const char *what, int error) {
  char text[160];
  snprintf(text, sizeof text, "cannot %s: %s", what, strerror(error));
  napi_throw_error(env, NULL, text);
  return NULL;
}

static const char *name_of(enum cause cause) {
  static const char *const NAMES[] = {
      [CAUSE_NONE] = "",           [CAUSE_CANCELLED] = "cancelled", [CAUSE_READER] = "reader",
      [CAUSE_DEADLINE] = "deadline", [CAUSE_QUIET] = "quiet",       [CAUSE_MEMORY] = "memory",
      [CAUSE_STUCK] = "stuck",     [CAUSE_THREW] = "threw",         [CAUSE_UNREADY] = "unready",
      [CAUSE_CRASHED] = "crashed",
  };
  return NAMES[cause];
}

static napi_value outcome_of(napi_env env, const struct attempt *attempt) {
  const struct watch *watch = &attempt->watch;
  napi_value outcome, torn;
  char message[MESSAGE_BYTES];
  memcpy(message, attempt->words->message, sizeof message);
  message[sizeof message - 1] = '\0';
  napi_create_object(env, &outcome);
  set_text(env, outcome, "cause", name_of(watch->cause));
  set_text(env, outcome, "message", message);
  set_number(env, outcome, "status", watch->status);
  set_number(env, outcome, "sizeBytes", (double)watch->size_bytes);
  set_number(env, outcome, "objects", (double)watch->objects);
  set_number(env, outcome, "peakBytes", (double)watch->peak_bytes);
  set_number(env, outcome, "cpuMillis", (double)watch->cpu_millis);
  set_number(env, outcome, "wallMillis", (double)watch->wall_millis);
  napi_get_boolean(env, watch->torn, &torn);
  napi_set_named_property(env, outcome, "torn", torn);
  return outcome;
}

static void on_notify(napi_env env, napi_value callback, void *context, void *data) {
  struct attempt *attempt = context;
  enum phase phase = (enum phase)(uintptr_t)data;
  if (env == NULL || callback == NULL) return;
  napi_value arguments[2], receiver, result;
  napi_create_string_utf8(env, phase == PHASE_READY ? "ready" : "ended", NAPI_AUTO_LENGTH,
                          &arguments[0]);
  napi_get_undefined(env, &receiver);
  napi_get_undefined(env, &arguments[1]);
  if (phase == PHASE_ENDED) {
    stop_thread(attempt); /* it has nothing left to do */
    attempt->phase = PHASE_ENDED;
    arguments[1] = outcome_of(env, attempt);
  }
  napi_call_function(env, receiver, callback, 2, arguments, &result);
  if (phase == PHASE_ENDED) napi_release_threadsafe_function(attempt->notify, napi_tsfn_release);
}

/* ---- the calls -------------------------------------------------------------------------------- */

static struct limits limits_of(napi_env env, napi_value options) {
  return (struct limits){
      .deadline_millis = (uint64_t)get_number(env, options, "deadlineMillis"),
      .quiet_millis = (uint64_t)get_number(env, options, "quietMillis"),
      .max_bytes = (uint64_t)get_number(env, options, "maxBytes"),
      .nice = (int)get_number(env, options, "nice"),
  };
}

/* The notifier keeps no process alive, and frees the attempt with itself. */
static napi_status make_notifier(napi_env env, struct attempt *attempt, napi_value callback) {
  napi_value name;
  napi_create_string_utf8(env, "memwatch", NAPI_AUTO_LENGTH, &name);
  napi_status status =
      napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, attempt, on_notifier_gone,
                                      attempt, on_notify, &attempt->notify);
  if (status != napi_ok) return status;
  napi_add_env_cleanup_hook(env, on_environment_ends, attempt);
  return napi_unref_threadsafe_function(env, attempt->notify);
}

static napi_value Begin(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2], external;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  struct attempt *attempt = attempt_new(env);
  if (attempt == NULL) return throw(env, "begin", ENOMEM);
  attempt->holders = 1;
  attempt->watch.limits = limits_of(env, arguments[0]);
  attempt->watch.id = (int32_t)get_number(env, arguments[0], "id");
  int socket = (int)get_number(env, arguments[0], "fd");
  attempt->watch.socket = fcntl(socket, F_DUPFD_CLOEXEC, 3);
  if (attempt->watch.socket < 0 || make_notifier(env, attempt, arguments[1]) != napi_ok) {
    if (attempt->watch.socket >= 0) close(attempt->watch.socket);
    attempt_release(attempt);
    return throw(env, "begin", EBADF);
  }
  int error = start_thread(attempt);
  if (error != 0) {
    close(attempt->watch.socket);
    napi_release_threadsafe_function(attempt->notify, napi_tsfn_abort);
    return throw(env, "start a thread", error);
  }
  attempt->holders++;
  napi_create_external(env, attempt, on_collected, NULL, &external);
  return external;
}

/* Whether a thread runs now, by the third field of its stat. */
static bool runs(const char *thread) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", thread);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return false;
  text[got] = '\0';
  const char *state = strrchr(text, ')');
  return state != NULL && state[1] != '\0' && state[2] == 'R';
}

/*
 * A thread that sleeps is in the middle of nothing: a child that is forked while V8's workers
 * sleep waits for none of them.
 */
int busy_threads(void) {
  int busy = 0, seen = 0;
  long own = syscall(SYS_gettid);
  DIR *threads = opendir("/proc/self/task");
  for (struct dirent *entry; threads != NULL && (entry = readdir(threads)) != NULL;) {
    if (entry->d_name[0] == '.' || atol(entry->d_name) == own || ++seen > MAX_THREADS) continue;
    busy += runs(entry->d_name);
  }
  if (threads != NULL) closedir(threads);
  return busy;
}

static napi_value BusyThreads(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value value;
  napi_create_int32(env, busy_threads(), &value);
  return value;
}

/* The child: does its work and ends. Nothing of the app's runs after that. */
_Noreturn void child_call(napi_env env, const struct child *child, napi_value function,
                          size_t count, const napi_value *arguments) {
  napi_value receiver, result, error, text;
  if (child_isolate(child->output, child->parent, child->limits, child->words) != 0)
    _exit(CHILD_UNREADY);
  napi_get_undefined(env, &receiver);
  if (napi_call_function(env, receiver, function, count, arguments, &result) == napi_ok)
    _exit(CHILD_DONE);
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok &&
      napi_coerce_to_string(env, error, &text) == napi_ok)
    napi_get_value_string_utf8(env, text, child->words->message, MESSAGE_BYTES, NULL);
  _exit(CHILD_THREW);
}

static double millis_of(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static napi_value Fork(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2], result;
  struct attempt *attempt;
  int ends[2];
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (napi_get_value_external(env, arguments[0], (void **)&attempt) != napi_ok ||
      attempt->phase != PHASE_READY)
    return throw(env, "fork", EINVAL);
  if (attempt->watch.cancelled) return throw(env, "fork", ECANCELED);
  if (attempt->error != 0) return throw(env, "read /proc/self/smaps", attempt->error);
  if (attempt->calls == 0) return throw(env, "fork a Node without a dynamic C library", ENOSYS);
  if (pipe2(ends, O_CLOEXEC) != 0) return throw(env, "make a pipe", errno);
  (void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES);
  (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
  double began = millis_of(CLOCK_MONOTONIC), used = millis_of(CLOCK_THREAD_CPUTIME_ID);
  pid_t parent = getpid();
  int error = inherit_begin(&attempt->ranges);
  pid_t child = error == 0 ? fork() : -1;
  if (child == 0) {
    const struct child own = {ends[1], parent, &attempt->watch.limits, attempt->words};
    child_call(env, &own, arguments[1], 0, NULL);
  }
  if (child < 0 && error == 0) error = errno;
  attempt->inheritable = true;
  close(ends[1]);
  used = millis_of(CLOCK_THREAD_CPUTIME_ID) - used;
  double ended = millis_of(CLOCK_MONOTONIC);
  if (child < 0) {
    close(ends[0]);
    sem_post(&attempt->go);
    return throw(env, "fork", error);
  }
  attempt->watch.input = ends[0];
  attempt->watch.child = child;
  attempt->phase = PHASE_FORKED;
  sem_post(&attempt->go);
  napi_create_object(env, &result);
  set_number(env, result, "pid", child);
  set_number(env, result, "pauseMillis", ended - began);
  set_number(env, result, "pauseCpuMillis", used);
  return result;
}

static napi_value Cancel(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value arguments[1];
  struct attempt *attempt;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (napi_get_value_external(env, arguments[0], (void **)&attempt) != napi_ok) return NULL;
  attempt->watch.cancelled = 1;
  if (attempt->phase < PHASE_FORKED) sem_post(&attempt->go);
  return NULL;
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback call;
  } CALLS[] = {{"begin", Begin},   {"busyThreads", BusyThreads}, {"fork", Fork},
               {"cancel", Cancel}, {"watchLimit", WatchLimit},   {"boundMemory", BoundMemory}};
  for (size_t at = 0; at < sizeof CALLS / sizeof *CALLS; at++) {
    napi_value function;
    napi_create_function(env, CALLS[at].name, NAPI_AUTO_LENGTH, CALLS[at].call, NULL, &function);
    napi_set_named_property(env, exports, CALLS[at].name, function);
  }
  return exports;
}
