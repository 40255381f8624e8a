/* Looks after the app while the walk goes on: memory, time, and whether the app still lives. */
#ifndef MEMWATCH_GUARD_H
#define MEMWATCH_GUARD_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

#include "run.h"

enum { TICK = 1 << 13 };       /* objects between two looks at the clock: about a millisecond */
enum { CHECK_MILLIS = 20 };    /* between two looks at the memory, which cost some ten microseconds each */
enum { MAX_LEVELS = 16, MAX_FILE = 8192 };
enum { FAULT_BYTES = 4096 }; /* what one fault copies, of huge pages too */

/* A level of the cgroup hierarchy that has a limit; cgroup.py found it. */
typedef struct {
    const char *usage, *stat, *reclaimable; /* two files, and the name of a line in the second one */
    long long limit;
} Level;

static struct {
    pid_t parent;
    Level levels[MAX_LEVELS];
    int level_count;
    long long keep;       /* bytes that are the app's: with less left the walk ends */
    long long max_extra;  /* bytes that the walk and what the app writes meanwhile may take; 0: any */
    long long faults;     /* of the app, when it was cloned */
    long long next_look;  /* so many bytes of faults are no reason to measure what was taken */
    double deadline;      /* of a walk in the app itself, as own_milliseconds() */
    double next_check;
} guard;

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The CPU time of this thread: what others take of the machine is not the walk's. */
static double own_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static ssize_t read_file(const char *path, char *text, size_t room)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t length = read(file, text, room - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    return length;
}

/* The number after a line's name, at the beginning of a line; -1: there is none. */
static long long number_after(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length))
            continue;
        const char *c = line + length;
        while (*c == ' ' || *c == ':')
            c++;
        long long number = 0;
        for (; *c >= '0' && *c <= '9'; c++)
            number = 10 * number + (*c - '0');
        return number;
    }
    return -1;
}

/* What this process alone has in memory: a child's own tables, and what the app has rewritten since the clone. */
static long long private_bytes(void)
{
    char text[MAX_FILE];
    if (read_file("/proc/self/smaps_rollup", text, sizeof text) <= 0)
        return -1;
    long long dirty = number_after(text, "Private_Dirty");
    return dirty < 0 ? -1 : dirty * 1024;
}

/* The page faults of a process so far, of all its threads: each write to a page shared with the clone is one; -1: not known. */
static long long faults_of(pid_t pid)
{
    char path[64], text[MAX_FILE];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *at = read_file(path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    for (int field = 2; at && field < 10; field++)
        at = strchr(at + 1, ' ');
    return at ? atoll(at + 1) : -1;
}

/* Measuring costs milliseconds a GB, so it waits until there were enough faults to have taken what may be taken. */
static void check_extra(void)
{
    long long theirs = faults_of(guard.parent), own = faults_of(getpid());
    long long written = theirs < 0 || own < 0 ? guard.next_look : (theirs - guard.faults + own) * FAULT_BYTES;
    if (written < guard.next_look)
        return;
    long long taken = private_bytes();
    if (taken > guard.max_extra)
        give_up("the walk and what the app wrote meanwhile have taken %lld bytes, more than the %lld that they may; "
                "capture when the app writes less, or allow more", taken, guard.max_extra);
    guard.next_look = written + guard.max_extra - taken;
}

static void check_level(const Level *level)
{
    char text[MAX_FILE];
    if (read_file(level->usage, text, sizeof text) <= 0)
        return;
    long long left = level->limit - number_after(text, "");
    if (left >= guard.keep)
        return;
    if (read_file(level->stat, text, sizeof text) > 0) {
        long long reclaimable = number_after(text, level->reclaimable);
        left += reclaimable > 0 ? reclaimable : 0;
    }
    if (left < guard.keep)
        give_up("%lld bytes are left below the container's limit of %lld, the app keeps %lld; "
                "the walk and what the app wrote meanwhile had taken %lld",
                left, level->limit, guard.keep, private_bytes());
}

static void check_machine(void)
{
    char text[MAX_FILE];
    if (read_file("/proc/meminfo", text, sizeof text) <= 0)
        return;
    long long left = number_after(text, "MemAvailable") * 1024;
    if (left >= 0 && left < guard.keep)
        give_up("%lld bytes are left on the machine, the app keeps %lld; the walk and what the app wrote meanwhile had "
                "taken %lld", left, guard.keep, private_bytes());
}

/* To be called now and then: ends a walk that must not go on. */
static void tick(void)
{
    if (run.in_app) {
        if (own_milliseconds() > guard.deadline)
            give_up("the walk in the app itself took longer than it may");
        return;
    }
    double now = milliseconds();
    if (now < guard.next_check)
        return;
    guard.next_check = now + CHECK_MILLIS;
    if (getppid() != guard.parent)
        give_up("the app has ended");
    if (guard.max_extra)
        check_extra();
    for (int i = 0; i < guard.level_count; i++)
        check_level(&guard.levels[i]);
    check_machine();
}

#endif
