/* Leaves large bytes and str objects out of the clone, whose page tables take most of its time; the child gets their beginnings,
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
enum { MAX_BEGINNING = 320 }; /* of an object: more than the walk reads of a large one (marks.h), or of a name (names.h) */
enum { BATCH = 128, MAX_LINE = 512, WINDOW = 16 << 10 };
enum { PREVIOUS_IN_USE = 1, CHUNK_IS_MMAPPED = 2, CHUNK_FLAGS = 7, MIN_CHUNK = 32, HEAP_SLACK = 64 };

typedef struct {
    size_t before, size; /* the C library's, in front of what malloc gave */
    union {
        PyBytesObject object;
        PyCompactUnicodeObject text;
        char beginning[MAX_BEGINNING];
    };
} Head;

typedef struct {
    uintptr_t head; /* where the chunk begins */
    size_t size;
} Span;

static struct {
    Span spans[MAX_SPANS];
    int count;
    Head *heads;          /* of all spans, from open_shield to close_shield, and in the child */
    Span runs[MAX_SPANS]; /* spans that lie side by side */
    int run_count;
    uint64_t bytes, huge; /* huge: of the process, in pages whose clone costs next to nothing */
    int with_text; /* str objects, too: not where their values are shown */
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

/* Copies `size` bytes from each of some addresses, without a fault where one has gone meanwhile; how many came. */
static int read_each(const uintptr_t *at, int count, void *to, size_t size)
{
    struct iovec from[BATCH], whole = {to, size * (size_t)count};
    for (int i = 0; i < count; i++)
        from[i] = (struct iovec){(void *)at[i], size};
    ssize_t got = process_vm_readv(getpid(), &whole, 1, from, (unsigned long)count, 0);
    return got < 0 ? 0 : (int)(got / (ssize_t)size);
}

static inline size_t chunk_size(const Head *head)
{
    return head->size & ~(size_t)CHUNK_FLAGS;
}

/* The bytes of malloc that an object has, where the walk reads no more of it than is kept in a Head; 0: some other thing.
   What was freed has no references, or a link of the allocator in their place. */
static size_t object_bytes(const Head *head)
{
    const PyObject *object = &head->object.ob_base.ob_base;
    if (object->ob_refcnt <= 0)
        return 0;
    if (object->ob_type == &PyBytes_Type)
        return head->object.ob_base.ob_size > 0 ? offsetof(PyBytesObject, ob_sval) + 1 + (size_t)head->object.ob_base.ob_size : 0;
    if (object->ob_type != &PyUnicode_Type || !shield.with_text)
        return 0;
    const PyASCIIObject *text = &head->text._base;
    if (!text->state.compact || text->state.kind != PyUnicode_1BYTE_KIND || text->length <= 0)
        return 0;
    return (text->state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject)) + (size_t)text->length + 1;
}

/* The size of the chunk if a large object alone fills it, as malloc maps one or takes it from its heap; else 0. */
static size_t payload_chunk(const Head *head)
{
    size_t size = chunk_size(head), flags = head->size & CHUNK_FLAGS;
    if (size < MIN_PAYLOAD)
        return 0;
    size_t object = object_bytes(head), needed = offsetof(Head, object) + object;
    int is_mapped = flags == CHUNK_IS_MMAPPED && size % PAGE == 0 && head->before == 0;
    int is_of_heap = (flags & ~(size_t)PREVIOUS_IN_USE) == 0 && size % 16 == 0;
    if (object == 0 || (!is_mapped && !is_of_heap))
        return 0;
    /* A chunk of the heap shares its last word with the next one. */
    return needed <= size + (is_of_heap ? 8 : 0) && size < needed + (is_mapped ? 2 * PAGE : HEAP_SLACK) ? size : 0;
}

static void add_span(uintptr_t head, size_t size)
{
    if (shield.count < MAX_SPANS)
        shield.spans[shield.count++] = (Span){head, size};
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
        int got = read_each(pages, count, heads, sizeof *heads);
        if (got == 0)
            return;
        while (found < got && (!(heads[found].size & CHUNK_IS_MMAPPED) || payload_chunk(&heads[found]) == 0 ||
                               pages[found] + payload_chunk(&heads[found]) > end))
            found++;
        at = pages[got - 1] + PAGE;
        want = want * 8 < BATCH ? want * 8 : BATCH;
        if (found == got)
            continue;
        add_span(pages[found], payload_chunk(&heads[found]));
        at = pages[found] + payload_chunk(&heads[found]);
        want = 1;
    }
}

/* Looks for payloads in malloc's heap, from chunk to chunk: what lies there after a large chunk was freed, for glibc then
   maps chunks of that size no more. */
static void find_in_heap(uintptr_t at, uintptr_t end)
{
    char window[WINDOW];
    uintptr_t first = at;
    size_t have = 0;
    while (end - at > sizeof(Head) && shield.count < MAX_SPANS) {
        if (at + sizeof(Head) > first + have) {
            first = at;
            have = end - at < WINDOW ? end - at : WINDOW;
            if (read_each(&first, 1, window, have) == 0)
                return;
        }
        const Head *head = (const Head *)(window + (at - first));
        size_t size = chunk_size(head);
        if (size < MIN_CHUNK || size % 16 || size > end - at)
            return;
        if (payload_chunk(head))
            add_span(at, size);
        at += size;
    }
}

/* Whether a map may hold payloads: private, writable, of no file, in memory, of small pages (huge ones cost little), and
   not kept from forks by its owner. */
typedef struct {
    unsigned long start, end, inode;
    long long resident, huge;
    int is_heap;
    char rights[8];
} Mapped;

static void look_into(const Mapped *map, const char *flags)
{
    unsigned long size = map->end - map->start;
    shield.huge += map->inode ? 0 : (uint64_t)map->huge;
    if (strcmp(map->rights, "rw-p") || map->inode || size < MIN_PAYLOAD || strstr(flags, " dc") || strstr(flags, " io") ||
        strstr(flags, " pf") || map->huge > map->resident / 2)
        return;
    if (map->is_heap)
        find_in_heap(map->start, map->end);
    else if ((unsigned long)map->resident >= size / 10 * 9)
        find_payloads(map->start, map->end);
}

/* Finds payloads; without the GIL, so all of them are looked at again before use. */
static void find_all_payloads(void)
{
    char line[MAX_LINE];
    Mapped map = {0, 0, 0, 0, 0, 0, ""}, next = map;
    FILE *maps = sysconf(_SC_PAGESIZE) == PAGE ? fopen("/proc/self/smaps", "re") : NULL;
    int count = 0;
    shield.count = 0;
    shield.huge = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        if (strncmp(line, "Rss:", 4) == 0)
            map.resident = strtoll(line + 4, NULL, 10) * 1024;
        else if (strncmp(line, "AnonHugePages:", 14) == 0)
            map.huge = strtoll(line + 14, NULL, 10) * 1024;
        else if (strncmp(line, "VmFlags:", 8) == 0)
            look_into(&map, line);
        else if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &next.start, &next.end, next.rights, &next.inode) == 4) {
            map = next;
            map.is_heap = strstr(line, "[heap]") != NULL;
            count++;
        }
    }
    if (maps)
        fclose(maps);
    if (count + 2 * shield.count > MAX_MAPS)
        shield.count = 0;
}

/* Whether a chunk's successor says that it is in use; of a mapped one nobody asks. */
static int is_in_use(const Head *head, size_t next_size)
{
    return head->size & CHUNK_IS_MMAPPED || next_size & PREVIOUS_IN_USE;
}

/* With the GIL: forgets what is no such object any more; copies the beginnings of the others. */
static void check_payloads(void)
{
    uintptr_t chunks[BATCH], next[BATCH];
    Head heads[BATCH];
    size_t sizes[BATCH];
    int kept = 0;
    for (int first = 0; first < shield.count; first += BATCH) {
        int count = shield.count - first < BATCH ? shield.count - first : BATCH;
        for (int i = 0; i < count; i++)
            chunks[i] = shield.spans[first + i].head;
        int got = read_each(chunks, count, heads, sizeof *heads);
        for (int i = 0; i < got; i++) /* behind a mapped chunk there may be nothing: its own size is read again */
            next[i] = chunks[i] + (heads[i].size & CHUNK_IS_MMAPPED ? 0 : shield.spans[first + i].size) + offsetof(Head, size);
        int more = read_each(next, got, sizes, sizeof *sizes);
        for (int i = 0; i < got && i < more; i++)
            if (payload_chunk(&heads[i]) == shield.spans[first + i].size && is_in_use(&heads[i], sizes[i])) {
                shield.heads[kept] = heads[i];
                shield.spans[kept++] = shield.spans[first + i];
            }
    }
    shield.count = kept;
}

/* Whole pages of a run: what lies on its first and last one with others stays in the clone. */
static Span pages_of(const Span *run)
{
    uintptr_t start = (run->head + PAGE - 1) & ~(uintptr_t)(PAGE - 1), end = (run->head + run->size) & ~(uintptr_t)(PAGE - 1);
    return (Span){start, end - start};
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
        Span pages = pages_of(&shield.runs[i]);
        if (madvise((void *)pages.head, pages.size, MADV_DONTFORK)) {
            shield.run_count = i + 1; /* part of it may have been done: it is taken back, too */
            break;
        }
        shield.bytes += pages.size;
    }
    return 1;
}

static void close_shield(const sigset_t *signals)
{
    for (int i = 0; i < shield.run_count; i++) {
        Span pages = pages_of(&shield.runs[i]);
        madvise((void *)pages.head, pages.size, MADV_DOFORK);
    }
    munmap(shield.heads, MAX_SPANS * sizeof *shield.heads);
    pthread_sigmask(SIG_SETMASK, signals, NULL);
    pthread_mutex_unlock(&no_forks);
}

/* In the child, before it maps anything else: where objects were left out there is memory again, with their beginnings
   and zeros. */
static void fill_in_heads(void)
{
    for (int i = 0; i < shield.run_count; i++) {
        Span pages = pages_of(&shield.runs[i]);
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
        if (mmap((void *)pages.head, pages.size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
            give_up("cannot map what was left out of the clone: error %d", errno);
    }
    for (int i = 0; i < shield.count; i++)
        *(Head *)shield.spans[i].head = shield.heads[i];
}

#endif
