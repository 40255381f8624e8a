/*
 * A V8 heap snapshot from a forked child: what the files of this folder share.
 *
 *   addon.c      what JavaScript sees: begin, busyThreads, fork, cancel
 *   nearlimit.c  forks by itself, when V8 comes to the limit of its heap
 *   figures.c    what it leaves where not even a child can be had
 *   inherit.c    makes V8's memory inheritable for the length of one fork
 *   child.c      what the child does first: alone, bounded, unable to wait for threads it lacks
 *   watch.c      the parent's thread: passes the bytes on, watches the child, reaps it
 *
 * Nothing here runs on the event loop but the fork itself, and nothing of the app's is touched in
 * the parent: no signal handler, no descriptor, no lock, no reaping of any child but ours.
 */
#ifndef MEMWATCH_FORK_H
#define MEMWATCH_FORK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit codes of the child; others are the app's own or signals. */
enum {
  CHILD_DONE = 0,
  CHILD_THREW = 96, /* JavaScript threw: `message` says what */
  CHILD_STUCK = 97, /* it would have waited for a thread that it does not have */
  CHILD_UNREADY = 98, /* it could not be made safe */
  CHILD_CRASHED = 99, /* a fatal signal: `message` names it */
};

enum { MESSAGE_BYTES = 256 };

/* One page that parent and child share: the child's last words. */
struct words {
  char message[MESSAGE_BYTES];
};

/* Bounds of one child; 0: none. */
struct limits {
  uint64_t deadline_millis; /* from the fork on */
  uint64_t quiet_millis;    /* asleep without being held up by a reader: it hangs */
  uint64_t max_bytes;       /* memory of its own, copied pages included */
  int nice;                 /* added to the app's */
};

/* ---- inherit.c ------------------------------------------------------------------------------ */

struct range {
  uintptr_t start, end;
};

/* Mappings that are marked MADV_DONTFORK, by address. */
struct ranges {
  struct range *items;
  size_t count, room;
};

/* Reads the marked mappings from /proc/self/smaps; slow, for a thread. Returns 0, or an errno. */
int ranges_read(struct ranges *ranges);
void ranges_free(struct ranges *ranges);

/*
 * Lets a fork inherit all private memory. Keeps in `ranges` what must be marked again: those that
 * were marked when they were read and are the same mappings still. Returns 0, or an errno.
 */
int inherit_begin(struct ranges *ranges);
/* Marks them again, from a thread: V8 has its memory at places drawn at random, so that what it
 * gives back meanwhile is hardly anybody else's already. */
void inherit_end(const struct ranges *ranges);

/* ---- child.c -------------------------------------------------------------------------------- */

/* Finds the calls that the child must not make; in the parent, since it takes the loader's lock.
 * Returns how many were found: 0 means that a child could hang at its first garbage collection. */
int child_prepare(void);

/* Cuts the child off from everything but descriptor 3, which becomes `output`. Returns 0, or -1
 * with the reason in `words`. Only in a child, which runs this thread alone. */
int child_isolate(int output, pid_t parent, const struct limits *limits, struct words *words);

/* The kernel's own bound on what the child takes beyond what it has now. */
void child_bound_memory(uint64_t max_bytes);

/* ---- watch.c -------------------------------------------------------------------------------- */

/* Why a child was ended, or failed. The words for it are JavaScript's. */
enum cause {
  CAUSE_NONE,      /* it did its work */
  CAUSE_CANCELLED, /* somebody asked */
  CAUSE_READER,    /* nobody reads the bytes any more */
  CAUSE_DEADLINE,
  CAUSE_QUIET,  /* it slept: it hangs */
  CAUSE_MEMORY, /* it took more than `max_bytes` */
  CAUSE_STUCK,
  CAUSE_THREW,
  CAUSE_UNREADY,
  CAUSE_CRASHED, /* `status` tells how */
};

/* One child to be watched; what the watch learns is written by its thread alone. */
struct watch {
  pid_t child;
  int input;       /* where the child's bytes come from */
  int socket;      /* where frames go */
  int32_t id;      /* of the request that they answer */
  struct limits limits;
  const struct words *words;
  volatile int cancelled; /* set by anybody */

  enum cause cause;
  int status;            /* of wait4; -1 where somebody else reaped it */
  bool torn;             /* a frame went out in part: the connection is of no use any more */
  uint64_t size_bytes;   /* of the snapshot, sent */
  int64_t objects;       /* -1: not known */
  uint64_t peak_bytes;   /* highest memory of its own */
  uint64_t cpu_millis;
  uint64_t wall_millis;
};

/* Passes the child's bytes on and returns when it is gone and reaped. */
void watch_run(struct watch *watch);

#endif
