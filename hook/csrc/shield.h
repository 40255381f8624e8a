/* Leaves large bytes objects out of the clone, whose page tables take most of its time; the child gets their beginnings,
   of which alone the walk reads, from a copy.

   MADV_DONTFORK holds for every fork of the process, so nobody else may fork while it is set. The GIL keeps Python's own
   forks out; for C threads a handler of pthread_atfork waits at a lock that is held meanwhile. (Calls that share the
   memory, as vfork and posix_spawn do, are not touched by it.) It is taken back before anything else happens, and the
   objects cannot go away, since the GIL is held from their last check on. Where the lock is not free at once, nothing is
   left out. docs/decisions/0023-shortest-pause.md */
#ifndef MEMWATCH_SHIELD_H
#define MEMWATCH_SHIELD_H

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "guard.h"
#include "layout.h"

enum { PAGE = 4096, MIN_PAYLOAD = 512 << 10 }; /* each takes a page of the child's own */
enum { MAX_SPANS = 8192, MAX_MAPS = 30000 };   /* the kernel allows 65,530 maps */
enum { MAX_BEGINNING = 96 };                   /* of an object: more than the walk reads of a large one (marks.h) */
enum { BATCH = 512, MAX_LINE = 512 };
enum { CHUNK_IS_MMAPPED = 2, CHUNK_FLAGS = 7 };

typedef struct {
    size_t before, size; /* the C library's, in front of what malloc gave */
    union {
        PyBytesObject object;
        char beginning[MAX_BEGINNING];
    };
} Head;

typedef struct {
    uintptr_t head; /* where the chunk begins: at a page's beginning */
    size_t size;
} Span;

static struct {
    Span spans[MAX_SPANS];
    int count;
    Head *heads;          /* of all spans, from open_shield to close_shield, and in the child */
    Span runs[MAX_SPANS]; /* spans that lie side by side */
    int run_count;
    uint64_t bytes;
} shield;

static pthread_mutex_t no_forks = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    pthread_mutex_lock(&no_forks);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&no_forks);
}

static int watch_forks(void)
{
    return pthread_atfork(before_fork, after_fork, after_fork);
}

/* Copies the beginnings of pages, without a fault where one has gone meanwhile; how many came. */
static int read_heads(const uintptr_t *pages, int count, Head *heads)
{
    struct iovec from[BATCH], to[BATCH];
    for (int i = 0; i < count; i++) {
        from[i] = (struct iovec){(void *)pages[i], sizeof *heads};
        to[i] = (struct iovec){&heads[i], sizeof *heads};
    }
    ssize_t got = process_vm_readv(getpid(), to, (unsigned long)count, from, (unsigned long)count, 0);
    return got < 0 ? 0 : (int)(got / (ssize_t)sizeof *heads);
}

/* How much was mapped for a chunk: since glibc 2.43 what it says of itself leaves its header out. */
static size_t mapped_size(const Head *head)
{
    size_t size = head->size & ~(size_t)CHUNK_FLAGS;
    return size % PAGE == PAGE - offsetof(Head, object) ? size + offsetof(Head, object) : size;
}

/* The size of the chunk if a large bytes object alone fills it, as malloc maps one; else 0. */
static size_t payload_chunk(const Head *head)
{
    size_t size = mapped_size(head);
    const PyVarObject *object = &head->object.ob_base;
    if ((head->size & CHUNK_FLAGS) != CHUNK_IS_MMAPPED || size % PAGE || size < MIN_PAYLOAD || head->before)
        return 0;
    size_t needed = offsetof(Head, object) + sizeof(PyBytesObject) + (size_t)object->ob_size;
    int fits = object->ob_base.ob_type == &PyBytes_Type && object->ob_size > 0 && needed <= size && size - needed < 2 * PAGE;
    return fits ? size : 0;
}

/* Looks for payloads in a map: one behind the other as malloc maps them, else at each page, more and more at once. */
static void find_payloads(uintptr_t at, uintptr_t end)
{
    uintptr_t pages[BATCH];
    Head heads[BATCH];
    int want = 1;
    while (at < end && shield.count < MAX_SPANS) {
        int count = 0, found = 0;
        for (uintptr_t page = at; page < end && count < want; page += PAGE)
            pages[count++] = page;
        int got = read_heads(pages, count, heads);
        if (got == 0)
            return;
        while (found < got && (payload_chunk(&heads[found]) == 0 || pages[found] + payload_chunk(&heads[found]) > end))
            found++;
        at = pages[got - 1] + PAGE;
        want = want * 8 < BATCH ? want * 8 : BATCH;
        if (found == got)
            continue;
        shield.spans[shield.count] = (Span){pages[found], payload_chunk(&heads[found])};
        at = pages[found] + shield.spans[shield.count++].size;
        want = 1;
    }
}

/* Whether a map may hold payloads: private, writable, of no file, in memory, of small pages (huge ones cost little), and
   not kept from forks by its owner. */
typedef struct {
    unsigned long start, end, inode;
    long long resident, huge;
    char rights[8];
} Mapped;

static void look_into(const Mapped *map, const char *flags)
{
    unsigned long size = map->end - map->start;
    if (strcmp(map->rights, "rw-p") || map->inode || size < MIN_PAYLOAD || strstr(flags, " dc") || strstr(flags, " io") ||
        strstr(flags, " pf") || (unsigned long)map->resident < size / 10 * 9 || map->huge > map->resident / 2)
        return;
    find_payloads(map->start, map->end);
}

/* Finds payloads; without the GIL, so all of them are looked at again before use. */
static void find_all_payloads(void)
{
    char line[MAX_LINE];
    Mapped map = {0, 0, 0, 0, 0, ""}, next = map;
    FILE *maps = sysconf(_SC_PAGESIZE) == PAGE ? fopen("/proc/self/smaps", "re") : NULL;
    int count = 0;
    shield.count = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        if (strncmp(line, "Rss:", 4) == 0)
            map.resident = strtoll(line + 4, NULL, 10) * 1024;
        else if (strncmp(line, "AnonHugePages:", 14) == 0)
            map.huge = strtoll(line + 14, NULL, 10) * 1024;
        else if (strncmp(line, "VmFlags:", 8) == 0)
            look_into(&map, line);
        else if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &next.start, &next.end, next.rights, &next.inode) == 4) {
            map = next;
            count++;
        }
    }
    if (maps)
        fclose(maps);
    if (count + 2 * shield.count > MAX_MAPS)
        shield.count = 0;
}

/* With the GIL: forgets what is no such object any more; copies the beginnings of the others. */
static void check_payloads(void)
{
    uintptr_t pages[BATCH];
    Head heads[BATCH];
    int kept = 0;
    for (int first = 0; first < shield.count; first += BATCH) {
        int count = shield.count - first < BATCH ? shield.count - first : BATCH;
        for (int i = 0; i < count; i++)
            pages[i] = shield.spans[first + i].head;
        int got = read_heads(pages, count, heads);
        for (int i = 0; i < got; i++)
            if (payload_chunk(&heads[i]) == shield.spans[first + i].size) {
                shield.heads[kept] = heads[i];
                shield.spans[kept++] = shield.spans[first + i];
            }
    }
    shield.count = kept;
}

static void join_spans(void)
{
    shield.run_count = 0;
    for (int i = 0; i < shield.count; i++) {
        Span *last = &shield.runs[shield.run_count - 1];
        if (i && last->head + last->size == shield.spans[i].head)
            last->size += shield.spans[i].size;
        else
            shield.runs[shield.run_count++] = shield.spans[i];
    }
}

/* With the GIL, right before the clone; whether close_shield is due. Signals wait, for a handler might fork. */
static int open_shield(sigset_t *signals)
{
    sigset_t all;
    size_t size = MAX_SPANS * sizeof *shield.heads;
    shield.heads = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shield.bytes = 0;
    if (shield.heads == MAP_FAILED)
        return 0;
    if (pthread_mutex_trylock(&no_forks)) {
        munmap(shield.heads, size);
        return 0;
    }
    check_payloads();
    join_spans();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, signals);
    for (int i = 0; i < shield.run_count; i++) {
        if (madvise((void *)shield.runs[i].head, shield.runs[i].size, MADV_DONTFORK)) {
            shield.run_count = i + 1; /* part of it may have been done: it is taken back, too */
            break;
        }
        shield.bytes += shield.runs[i].size;
    }
    return 1;
}

static void close_shield(const sigset_t *signals)
{
    for (int i = 0; i < shield.run_count; i++)
        madvise((void *)shield.runs[i].head, shield.runs[i].size, MADV_DOFORK);
    munmap(shield.heads, MAX_SPANS * sizeof *shield.heads);
    pthread_sigmask(SIG_SETMASK, signals, NULL);
    pthread_mutex_unlock(&no_forks);
}

/* In the child, before it maps anything else: where objects were left out there is memory again, with their beginnings
   and zeros. */
static void fill_in_heads(void)
{
    for (int i = 0; i < shield.run_count; i++) {
        void *start = (void *)shield.runs[i].head;
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
        if (mmap(start, shield.runs[i].size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
            give_up("cannot map what was left out of the clone: error %d", errno);
    }
    for (int i = 0; i < shield.count; i++)
        *(Head *)shield.spans[i].head = shield.heads[i];
}

#endif
