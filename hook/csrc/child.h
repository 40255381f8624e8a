/* The cloned child: sheds what it inherited, walks, says what it cost or what it died of, and ends.

   No malloc, no Python code and no locks: another thread of the app may have held any of them. */
#ifndef MEMWATCH_CHILD_H
#define MEMWATCH_CHILD_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "shield.h"
#include "walk.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { CRASH_STACK_BYTES = 64 << 10 };

static void close_between(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0u) == 0)
        return;
    struct rlimit limit = {0, 4096};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
        close((int)fd);
}

static void close_others(int kept, int also_kept)
{
    unsigned low = (unsigned)(kept < also_kept ? kept : also_kept);
    unsigned high = (unsigned)(kept < also_kept ? also_kept : kept);
    int nowhere = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        if (fd != kept && fd != also_kept)
            dup2(nowhere, fd);
    close_between(3, low - 1);
    close_between(low + 1, high - 1);
    close_between(high + 1, ~0u);
}

/* ---- A crash, most likely in the tp_traverse of an extension's class, and a walk without end. ---- */

static unsigned deadline_seconds;

static const char *suspect(void)
{
    if (traversed == NULL)
        return "none";
    for (uint32_t i = 0; i < names.count; i++)
        if (names.items[i].number == traversed->name) {
            static char name[MAX_NAME_CHARS + 1];
            size_t length = names.items[i].length < MAX_NAME_CHARS ? names.items[i].length : MAX_NAME_CHARS;
            memcpy(name, names.items[i].text, length);
            return name;
        }
    return "unknown";
}

static void on_crash(int number)
{
    if (number == SIGALRM)
        give_up("the walk took longer than %u s, all it may take; class whose tp_traverse ran: %s", deadline_seconds, suspect());
    give_up("the walk crashed (signal %d); class whose tp_traverse ran: %s", number, suspect());
}

static void catch_crashes(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    stack_t stack = {.ss_sp = map_pages(CRASH_STACK_BYTES), .ss_size = CRASH_STACK_BYTES};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER};
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        sigaction(crashes[i], &action, NULL);
}

/* ---- Its life. ---- */

static void shed(int output)
{
    struct rlimit no_core = {0, 0};
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, number == SIGPIPE ? SIG_IGN : SIG_DFL);
    catch_crashes();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a huge page for each of our small tables would be most of the cost */
    setrlimit(RLIMIT_CORE, &no_core);
    close_others(output, run.status);
    alarm(deadline_seconds);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int score = open("/proc/self/oom_score_adj", O_WRONLY);
    if (score >= 0) {
        (void)!write(score, "1000", 4);
        close(score);
    }
}

static void report(const Findings *found)
{
    char line[512];
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double millis = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
                    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
    int length = snprintf(line, sizeof line,
                          "{\"objects\":%u,\"size_bytes\":%llu,\"heap_bytes\":%llu,\"cpu_millis\":%.3f,"
                          "\"extra_memory_bytes\":%lld,\"chunks\":[",
                          found->objects, (unsigned long long)found->size, (unsigned long long)found->heap_bytes, millis,
                          private_bytes());
    (void)!write(run.status, line, (size_t)length);
    for (size_t i = 0; i < found->chunks.count; i++) {
        length = snprintf(line, sizeof line, i ? ",%llu" : "%llu", (unsigned long long)found->chunks.items[i]);
        (void)!write(run.status, line, (size_t)length);
    }
    (void)!write(run.status, "]}\n", 3);
}

__attribute__((noreturn)) static void live_as_child(const Order *order, int shielded)
{
    if (shielded)
        fill_in_heads();
    leave_tracing();
    shed(order->output);
    Findings found = walk_heap(order);
    report(&found);
    _exit(0);
}

#endif
