/* What the files that JavaScript calls share: Node-API version 8, and what runs in a child. */
#ifndef MEMWATCH_CALLS_H
#define MEMWATCH_CALLS_H

#define NAPI_VERSION 8
#include <node_api.h>

#include "fork.h"

/* A child that was just forked, and what it needs. */
struct child {
  int output;
  pid_t parent;
  const struct limits *limits;
  struct words *words;
};

/* addon.c: a positive number of an object; 0 where there is none. */
double get_number(napi_env env, napi_value object, const char *name);
/* addon.c: how many other threads of the process run at this instant. */
int busy_threads(void);
/* addon.c: isolates the child, calls JavaScript, and ends. */
_Noreturn void child_call(napi_env env, const struct child *child, napi_value function,
                          size_t count, const napi_value *arguments);

/* figures.c: leaves figures in a directory, unless a file there begins with `prefix` already.
 * `why` there is no more, of plain letters. */
void figures_leave(const char *directory, const char *prefix, size_t limit, const char *why);

/* nearlimit.c: watchLimit({waitMillis, deadlineMillis, directory, prefix}, write) → why it cannot; '' where it can. */
napi_value WatchLimit(napi_env env, napi_callback_info info);
/* nearlimit.c: boundMemory(bytes), in a child. */
napi_value BoundMemory(napi_env env, napi_callback_info info);

#endif
