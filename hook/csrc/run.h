/* One walk: how it gives up, and what it forgets when it is over.

   In a child it says why on the status pipe and exits; in the app itself it jumps back to where it was called. Everything
   that a walk remembers is marked STATE, and is zero at the beginning of every walk. */
#ifndef MEMWATCH_RUN_H
#define MEMWATCH_RUN_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATE static __attribute__((section("mw_state")))
extern char __start_mw_state[] __attribute__((visibility("hidden")));
extern char __stop_mw_state[] __attribute__((visibility("hidden")));

enum { EXIT_GAVE_UP = 70, MAX_WHY = 300 };

/* Survives forget_walk(): set by whoever starts a walk. */
static struct {
    int status;         /* where a child says what came of it */
    int in_app;         /* no child: give_up jumps to `back` */
    jmp_buf back;
    char why[MAX_WHY];
} run;

static void forget_walk(void)
{
    memset(__start_mw_state, 0, (size_t)(__stop_mw_state - __start_mw_state));
}

/* Ends the walk; `format` and what follows, as for printf, say why. */
__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    char text[MAX_WHY + 20];
    va_list values;
    va_start(values, format);
    vsnprintf(run.why, sizeof run.why, format, values);
    va_end(values);
    if (run.in_app)
        longjmp(run.back, 1);
    for (char *c = run.why; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 0x20)
            *c = '\'';
    int length = snprintf(text, sizeof text, "{\"failure\":\"%s\"}\n", run.why);
    (void)!write(run.status, text, (size_t)length);
    _exit(EXIT_GAVE_UP);
}

#endif
