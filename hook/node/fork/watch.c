/*
 * The parent's thread beside a child: passes the snapshot's bytes on as frames of the hook wire,
 * watches the child's sleep, memory and time, and reaps it.
 */
#include "fork.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Frames of docs/formats/hook-wire.md. */
enum { FRAME_PROGRESS = 3, FRAME_DATA = 4, HEADER_BYTES = 5 };

enum {
  FRAME_BYTES = 256 * 1024,
  /* How often the child is looked at; a look costs 20 microseconds. */
  LOOK_MILLIS = 50,
  /* Adding up a child's memory walks its pages: it is given at most a tenth of a core. */
  MEMORY_LOOK_MILLIS = 100,
  MEMORY_LOOK_SHARE = 10,
  PROGRESS_MILLIS = 1000,
  /* A child whose output is shut has nothing left to do but end. */
  ENDING_MILLIS = 2000,
  /* A reader that has no room for the rest of a frame, when the child is gone. */
  LAST_FRAME_MILLIS = 5000,
};

/* The watch at work. */
struct work {
  struct watch *watch;
  int64_t began, looked, memory_due, progress_due;
  /* The last look at which the child was awake, or waited for its reader. */
  int64_t awake;
  uint64_t cpu_ticks;
  size_t filled;
  unsigned char *frame;
};

static int64_t now_millis(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Ends the child for the first cause that there is; its output then comes to its end. */
static void end_child(struct watch *watch, enum cause cause) {
  if (watch->cause != CAUSE_NONE) return;
  watch->cause = cause;
  kill(watch->child, SIGKILL);
}

/* ---- looking at the child --------------------------------------------------------------------- */

/* Reads a file of the child's in /proc; returns its length, 0 where there is none. */
static size_t read_of_child(pid_t child, const char *name, char *text, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)child, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t got = read(file, text, size - 1);
  close(file);
  text[got > 0 ? got : 0] = '\0';
  return got > 0 ? (size_t)got : 0;
}

/* Whether the child sleeps, and its CPU time; false where it has ended. */
static bool look(pid_t child, bool *sleeps, uint64_t *cpu_ticks) {
  char text[1024];
  if (read_of_child(child, "stat", text, sizeof text) == 0) return false;
  const char *fields = strrchr(text, ')'); /* a name may hold anything */
  char state;
  unsigned long user, system;
  if (fields == NULL ||
      sscanf(fields + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &state, &user,
             &system) != 3)
    return false;
  *sleeps = state == 'S';
  *cpu_ticks = (uint64_t)user + system;
  return state != 'Z' && state != 'X';
}

/* Memory that only the child has: what it took, what it changed, and what its parent changed. */
static uint64_t own_bytes(pid_t child) {
  char text[4096];
  uint64_t sum = 0;
  if (read_of_child(child, "smaps_rollup", text, sizeof text) == 0) return 0;
  for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    unsigned long kib;
    if (sscanf(line, "Private_%*[A-Za-z]: %lu kB", &kib) == 1) sum += (uint64_t)kib * 1024;
  }
  return sum;
}

static void look_at_memory(struct work *work, int64_t now) {
  struct watch *watch = work->watch;
  uint64_t bytes = own_bytes(watch->child);
  int64_t took = now_millis() - now;
  int64_t pause = took * MEMORY_LOOK_SHARE;
  work->memory_due = now + (pause > MEMORY_LOOK_MILLIS ? pause : MEMORY_LOOK_MILLIS);
  if (bytes > watch->peak_bytes) watch->peak_bytes = bytes;
  if (watch->limits.max_bytes > 0 && bytes > watch->limits.max_bytes)
    end_child(watch, CAUSE_MEMORY);
}

/* Looks whether the child may go on. `held_up`: it may sleep because nobody reads its bytes. */
static void look_at_child(struct work *work, bool held_up) {
  struct watch *watch = work->watch;
  const struct limits *limits = &watch->limits;
  int64_t now = now_millis();
  if (now - work->looked < LOOK_MILLIS) return;
  work->looked = now;
  if (watch->cancelled) end_child(watch, CAUSE_CANCELLED);
  if (limits->deadline_millis > 0 && (uint64_t)(now - work->began) > limits->deadline_millis)
    end_child(watch, CAUSE_DEADLINE);
  bool sleeps = false;
  uint64_t ticks = work->cpu_ticks;
  if (!look(watch->child, &sleeps, &ticks)) return;
  if (!sleeps || held_up || ticks != work->cpu_ticks) work->awake = now;
  work->cpu_ticks = ticks;
  if (limits->quiet_millis > 0 && (uint64_t)(now - work->awake) > limits->quiet_millis)
    end_child(watch, CAUSE_QUIET);
  if (now >= work->memory_due) look_at_memory(work, now);
}

/* ---- passing bytes on ------------------------------------------------------------------------- */

/* Sends all or breaks the connection's framing; false where nobody reads any more. */
static bool send_all(struct work *work, const unsigned char *bytes, size_t length) {
  struct watch *watch = work->watch;
  int64_t stopped = 0;
  for (size_t at = 0; at < length;) {
    ssize_t sent = send(watch->socket, bytes + at, length - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      at += (size_t)sent;
      continue;
    }
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      watch->torn = true;
      return false;
    }
    struct pollfd room = {watch->socket, POLLOUT, 0};
    poll(&room, 1, LOOK_MILLIS);
    look_at_child(work, true);
    if (watch->cause == CAUSE_NONE) continue;
    if (at == 0) return false;
    /* The frame has begun: without its end the connection would be lost. */
    if (stopped == 0) stopped = now_millis();
    if (now_millis() - stopped > LAST_FRAME_MILLIS) {
      watch->torn = true;
      return false;
    }
  }
  return true;
}

static bool send_frame(struct work *work, int type, unsigned char *frame, size_t payload) {
  uint32_t length = htonl((uint32_t)payload);
  memcpy(frame, &length, sizeof length);
  frame[HEADER_BYTES - 1] = (unsigned char)type;
  bool sent = send_all(work, frame, HEADER_BYTES + payload);
  if (!sent) end_child(work->watch, CAUSE_READER);
  return sent;
}

static void send_progress(struct work *work) {
  struct watch *watch = work->watch;
  int64_t now = now_millis();
  if (now < work->progress_due) return;
  work->progress_due = now + PROGRESS_MILLIS;
  unsigned char frame[HEADER_BYTES + 160];
  uint64_t hertz = (uint64_t)sysconf(_SC_CLK_TCK);
  bool writes = watch->size_bytes > 0;
  uint64_t done = writes ? watch->size_bytes : work->cpu_ticks * 1000 / hertz;
  int length = snprintf((char *)frame + HEADER_BYTES, sizeof frame - HEADER_BYTES,
                        "{\"id\":%d,\"stage\":\"%s\",\"done\":%llu,\"total\":0}", (int)watch->id,
                        writes ? "writing" : "building", (unsigned long long)done);
  send_frame(work, FRAME_PROGRESS, frame, (size_t)length);
}

/* The number of nodes, which V8 says in its first hundreds of bytes. */
static int64_t objects_in(const char *head, size_t length) {
  static const char FIELD[] = "\"node_count\":";
  const char *found = memmem(head, length, FIELD, sizeof FIELD - 1);
  long long count;
  char digits[24];
  if (found == NULL) return -1;
  size_t left = length - (size_t)(found - head) - (sizeof FIELD - 1);
  size_t taken = left < sizeof digits - 1 ? left : sizeof digits - 1;
  memcpy(digits, found + sizeof FIELD - 1, taken);
  digits[taken] = '\0';
  return sscanf(digits, "%lld", &count) == 1 ? count : -1;
}

static void send_data(struct work *work) {
  struct watch *watch = work->watch;
  if (work->filled == 0) return;
  if (watch->size_bytes == 0)
    watch->objects = objects_in((const char *)work->frame + HEADER_BYTES, work->filled);
  if (send_frame(work, FRAME_DATA, work->frame, work->filled)) watch->size_bytes += work->filled;
  work->filled = 0;
}

/* Reads what is there; false at the end of the child's output. */
static bool take(struct work *work) {
  struct watch *watch = work->watch;
  ssize_t got =
      read(watch->input, work->frame + HEADER_BYTES + work->filled, FRAME_BYTES - work->filled);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (got > 0) work->filled += (size_t)got;
  int waiting = 0;
  bool more = ioctl(watch->input, FIONREAD, &waiting) == 0 && waiting > 0;
  if (work->filled == FRAME_BYTES || (!more && work->filled >= FRAME_BYTES / 4)) send_data(work);
  return true;
}

/* ---- the whole -------------------------------------------------------------------------------- */

static void pump(struct work *work) {
  struct watch *watch = work->watch;
  struct pollfd ready[] = {{watch->input, POLLIN, 0}, {watch->socket, POLLRDHUP, 0}};
  for (;;) {
    if (poll(ready, 2, LOOK_MILLIS) > 0) {
      if (ready[1].revents != 0) end_child(watch, CAUSE_READER);
      if (ready[0].revents != 0 && !take(work)) break;
    }
    look_at_child(work, false);
    if (watch->cause != CAUSE_NONE) break;
    send_progress(work);
  }
  if (watch->cause == CAUSE_NONE) send_data(work);
}

static void reap(struct watch *watch) {
  struct rusage usage;
  memset(&usage, 0, sizeof usage);
  int64_t until = now_millis() + ENDING_MILLIS;
  pid_t got;
  while ((got = wait4(watch->child, &watch->status, WNOHANG, &usage)) == 0 ||
         (got < 0 && errno == EINTR)) {
    if (now_millis() > until) end_child(watch, CAUSE_QUIET);
    struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
  }
  if (got < 0) watch->status = -1; /* the app reaped it */
  watch->cpu_millis = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* Why a child that was not ended by us did not do its work. */
static enum cause cause_of(int status) {
  if (status == -1) return CAUSE_NONE; /* nobody knows: the bytes decide */
  if (!WIFEXITED(status)) return WTERMSIG(status) == SIGALRM ? CAUSE_DEADLINE : CAUSE_CRASHED;
  switch (WEXITSTATUS(status)) {
    case CHILD_DONE: return CAUSE_NONE;
    case CHILD_THREW: return CAUSE_THREW;
    case CHILD_STUCK: return CAUSE_STUCK;
    case CHILD_UNREADY: return CAUSE_UNREADY;
    default: return CAUSE_CRASHED;
  }
}

void watch_run(struct watch *watch) {
  int64_t now = now_millis();
  struct work work = {.watch = watch, .began = now, .awake = now};
  work.progress_due = now + PROGRESS_MILLIS;
  work.frame = malloc(HEADER_BYTES + FRAME_BYTES);
  watch->objects = -1;
  if (work.frame == NULL) end_child(watch, CAUSE_UNREADY);
  else pump(&work);
  reap(watch);
  if (watch->cause == CAUSE_NONE) watch->cause = cause_of(watch->status);
  watch->wall_millis = (uint64_t)(now_millis() - now);
  free(work.frame);
}
