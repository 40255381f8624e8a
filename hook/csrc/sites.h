/* Where objects were allocated: tracemalloc's own table of traces, read as it is. Its lookups take a lock and make objects,
   which a child may not; the table is a plain hash table from addresses to stacks, and nobody writes to it while the
   process is cloned: docs/decisions/0046-allocation-sites.md. */
#ifndef MEMWATCH_SITES_H
#define MEMWATCH_SITES_H

#include <sys/uio.h>

#include "layout.h"
#include "naming.h"
#include "spool.h"
#include "internal/pycore_hashtable.h"
#if AT_LEAST(12)
#include "internal/pycore_runtime.h"
#include "internal/pycore_tracemalloc.h"
#else
#include "internal/pycore_pymem.h"
#endif

enum { MAX_SITE_FRAMES = 64, MAX_SITES_FRAMES = 1 << 18 };
enum { NEAR_BYTES = 8 << 10 }; /* the statics of one C file lie together */

/* As in the interpreter's tracemalloc.c from 3.9 on. */
typedef struct {
    PyObject *filename;
    unsigned int line;
} __attribute__((packed)) SiteFrame;

typedef struct {
    Py_uhash_t hash;
    uint16_t count, whole_count;
    SiteFrame frames[1]; /* the innermost first */
} Stack;

typedef struct {
    size_t size;
    const Stack *stack;
} TraceOfBlock;

/* Survives a walk: where the interpreter keeps the table, and whether the next walk is to read it. */
static struct {
    _Py_hashtable_t *const *table;
    int armed;
} traced;

STATE struct {
    int wanted;
    uint32_t next_node; /* the one after the last with a site */
    uint32_t count, allocations, left_out, frames;
    Map numbers; /* by the address of the stack: the site's number + 1 */
} sites;

/* ---- Finding the table, in the app. ---- */

/* Whether an allocator is tracemalloc's: its context is then the allocator that was there before. */
static PyMemAllocatorEx *before_tracing(PyMemAllocatorDomain domain)
{
    PyMemAllocatorEx now;
    PyMem_GetAllocator(domain, &now);
#if AT_LEAST(12)
    PyMemAllocatorEx *kept = domain == PYMEM_DOMAIN_OBJ   ? &_PyRuntime.tracemalloc.allocators.obj
                             : domain == PYMEM_DOMAIN_MEM ? &_PyRuntime.tracemalloc.allocators.mem
                                                          : &_PyRuntime.tracemalloc.allocators.raw;
    return now.ctx == kept ? kept : NULL;
#else
    PyMemAllocatorEx mem, raw, obj; /* kept one behind the other */
    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &mem);
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &obj);
    PyMemAllocatorEx *first = mem.ctx;
    return first && raw.ctx == first + 1 && obj.ctx == first + 2 ? now.ctx : NULL;
#endif
}

static inline const Stack *stack_of_block(const void *block)
{
    const _Py_hashtable_t *table = *traced.table;
    size_t bucket = _Py_hashtable_hash_ptr(block) & (table->nbuckets - 1);
    for (const _Py_slist_item_t *item = table->buckets[bucket].head; item; item = item->next)
        if (((const _Py_hashtable_entry_t *)item)->key == block)
            return ((const TraceOfBlock *)((const _Py_hashtable_entry_t *)item)->value)->stack;
    return NULL;
}

static inline const Stack *stack_of(PyObject *thing)
{
    return stack_of_block((char *)thing - header_size(thing));
}

#if !AT_LEAST(12)
/* Reads what may not be there. */
static int peek(const void *from, void *to, size_t size)
{
    struct iovec here = {to, size}, there = {(void *)from, size};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

static int looks_like_traces(const void *pointer)
{
    _Py_hashtable_t table;
    if (pointer == NULL || (uintptr_t)pointer % sizeof(void *) || !peek(pointer, &table, sizeof table))
        return 0;
    return table.hash_func == _Py_hashtable_hash_ptr && table.compare_func == _Py_hashtable_compare_direct && table.nbuckets &&
           (table.nbuckets & (table.nbuckets - 1)) == 0 && table.buckets;
}

/* The static variable is somewhere near the allocators that tracemalloc has kept. */
static void find_table(void)
{
    uintptr_t near = (uintptr_t)before_tracing(PYMEM_DOMAIN_OBJ);
    for (uintptr_t by = 0; near && by < NEAR_BYTES; by += sizeof(void *))
        for (int side = 0; side < 2; side++) {
            void *const *at = (void *const *)(side ? near + by : near - by), *pointer;
            if (peek(at, &pointer, sizeof pointer) && looks_like_traces(pointer)) {
                traced.table = (_Py_hashtable_t *const *)at;
                return;
            }
        }
}
#else
static void find_table(void)
{
    traced.table = before_tracing(PYMEM_DOMAIN_OBJ) ? (_Py_hashtable_t *const *)&_PyRuntime.tracemalloc.traces : NULL;
}
#endif

/* Whether the table is found and says of an object just made what the interpreter says of it. */
static int sites_can_be_read(PyObject *probe, PyObject *filename, unsigned int line)
{
    if (before_tracing(PYMEM_DOMAIN_OBJ) == NULL)
        return 0;
    if (traced.table == NULL)
        find_table();
    if (traced.table == NULL || *traced.table == NULL)
        return 0;
    const Stack *found = stack_of(probe);
    return found && found->count && found->frames[0].filename == filename && found->frames[0].line == line;
}

/* ---- Round the clone: no other thread is then within the table. ---- */

static void hold_traces(void)
{
#if AT_LEAST(14)
    PyMutex_Lock(&_PyRuntime.tracemalloc.tables_lock);
#elif AT_LEAST(12)
    PyThread_acquire_lock(_PyRuntime.tracemalloc.tables_lock, WAIT_LOCK);
#endif
}

static void release_traces(void)
{
#if AT_LEAST(14)
    PyMutex_Unlock(&_PyRuntime.tracemalloc.tables_lock);
#elif AT_LEAST(12)
    PyThread_release_lock(_PyRuntime.tracemalloc.tables_lock);
#endif
}

/* In the child: what the interpreter makes there (`__sizeof__` makes ints) is not to be traced, which takes the lock and
   calls malloc. Gives it back the allocators from before tracing, and switches off what looks at new objects. */
static void leave_tracing(void)
{
    static const PyMemAllocatorDomain domains[] = {PYMEM_DOMAIN_OBJ, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_RAW};
    PyMemAllocatorEx *before[3];
    for (int i = 0; i < 3; i++)
        before[i] = before_tracing(domains[i]);
#if AT_LEAST(12)
    PyMemAllocatorEx *standard[] = {&_PyRuntime.allocators.standard.obj, &_PyRuntime.allocators.standard.mem,
                                    &_PyRuntime.allocators.standard.raw};
    for (int i = 0; i < 3; i++)
        if (before[i])
            *standard[i] = *before[i];
    _PyRuntime.tracemalloc.config.tracing = 0;
#else
    for (int i = 0; i < 3; i++)
        if (before[i])
            PyMem_SetAllocator(domains[i], before[i]); /* stores it, no more */
    _Py_tracemalloc_config.tracing = 0;
#endif
#if AT_LEAST(13)
    _PyRuntime.ref_tracer.tracer_func = NULL;
#endif
}

/* ---- Writing. ---- */

static void put_frame(const SiteFrame *frame)
{
    char text[4 * MAX_PATH_CHARS + 16];
    size_t length = text_of(frame->filename, text, MAX_PATH_CHARS), start = length;
    uint32_t file = name_number(text, length);
    while (start && text[start - 1] != '/')
        start--;
    length += (size_t)snprintf(text + length, 16, ":%u", frame->line & INT32_MAX);
    put_number(&spool.allocations, name_number(text + start, length - start));
    put_number(&spool.allocations, file);
    put_number(&spool.allocations, frame->line & INT32_MAX);
}

static void describe_site(const Stack *stack)
{
    uint32_t count = stack->count < MAX_SITE_FRAMES ? stack->count : MAX_SITE_FRAMES;
    put_number(&spool.allocations, count);
    for (uint32_t i = 0; i < count; i++)
        put_frame(&stack->frames[i]);
    sites.frames += count;
}

/* tracemalloc's word for what it could not tell. */
static inline int is_unknown(const Stack *stack)
{
    return stack->count == 0 || (stack->count == 1 && stack->frames[0].line == 0);
}

static void put_site(PyObject *thing, uint32_t node)
{
    const Stack *stack = stack_of(thing);
    if (stack == NULL || is_unknown(stack))
        return;
    const Slot *known = map_find(&sites.numbers, stack);
    if (known == NULL && sites.frames + MAX_SITE_FRAMES > MAX_SITES_FRAMES) {
        sites.left_out++;
        return;
    }
    put_number(&spool.allocations, node - sites.next_node);
    sites.next_node = node + 1;
    sites.allocations++;
    if (known) {
        put_number(&spool.allocations, known->value - 1);
        return;
    }
    map_slot(&sites.numbers, stack)->value = ++sites.count;
    put_number(&spool.allocations, sites.count - 1);
    describe_site(stack);
}

#endif
