/* Where objects were allocated (docs/formats/heap-dump.md, stream A), as V8's functions and tree of traces. The stream is
   read twice: once for the tree, which the header needs the size of, then along with the nodes. */
#ifndef MEMWATCH_CONVERT_SITES_H
#define MEMWATCH_CONVERT_SITES_H

#include "convert_read.h"

enum { MAX_SITE_FRAMES = 64, MAX_FRAMES = 1 << 18 };
#define MAX_LINE (((uint64_t)1 << 31) - 1)

typedef struct {
    uint32_t name, file, line;
} Function;

/* A node of the tree; `first`, `last` and `next` are children and sibling, 0 for none, as no node has the root below it. */
typedef struct {
    uint32_t function, first, last, next;
    uint64_t count, size;
} Trace;

/* Numbers by a key, which is kept one higher so that 0 is an empty place; never more than half full. */
typedef struct {
    struct {
        uint64_t key[2];
        uint32_t number;
    } *slots;
    size_t count, room;
} Numbers;

static struct {
    Function *functions; /* [0] is the root's */
    Trace *traces;       /* [0] is the root */
    uint32_t *leaves;    /* by site */
    size_t function_count, function_room, trace_count, trace_room, site_count, site_room, frame_count;
    Numbers function_numbers, trace_numbers;
} tree;

static uint32_t *find_number(Numbers *numbers, uint64_t high, uint64_t low)
{
    uint64_t hash = (high * 0x9E3779B97F4A7C15ull ^ low) * 0x9E3779B97F4A7C15ull;
    for (uint64_t place = hash >> 20;; place++) {
        size_t at = place & (numbers->room - 1);
        if (numbers->slots[at].key[0] == 0) {
            numbers->slots[at].key[0] = high + 1;
            numbers->slots[at].key[1] = low;
            numbers->count++;
            return &numbers->slots[at].number;
        }
        if (numbers->slots[at].key[0] == high + 1 && numbers->slots[at].key[1] == low)
            return &numbers->slots[at].number;
    }
}

/* The number of a key, to be set where it is 0: the key is new. */
static uint32_t *number_of_key(Numbers *numbers, uint64_t high, uint64_t low)
{
    if (2 * (numbers->count + 1) > numbers->room) {
        Numbers larger = {NULL, 0, numbers->room ? 2 * numbers->room : 256};
        larger.slots = grown(NULL, larger.room * sizeof *larger.slots);
        memset(larger.slots, 0, larger.room * sizeof *larger.slots);
        for (size_t i = 0; i < numbers->room; i++)
            if (numbers->slots[i].key[0])
                *find_number(&larger, numbers->slots[i].key[0] - 1, numbers->slots[i].key[1]) = numbers->slots[i].number;
        *numbers = larger;
    }
    return find_number(numbers, high, low);
}

#define ROOM_FOR_ONE_MORE(items, count, room)               \
    if ((count) == (room)) {                                \
        (room) = (room) ? 2 * (room) : 256;                 \
        (items) = grown((items), (room) * sizeof *(items)); \
    }

static uint32_t add_function(Function function)
{
    ROOM_FOR_ONE_MORE(tree.functions, tree.function_count, tree.function_room)
    tree.functions[tree.function_count] = function;
    return (uint32_t)tree.function_count++;
}

static uint32_t add_trace(uint32_t function)
{
    ROOM_FOR_ONE_MORE(tree.traces, tree.trace_count, tree.trace_room)
    tree.traces[tree.trace_count] = (Trace){function, 0, 0, 0, 0, 0};
    return (uint32_t)tree.trace_count++;
}

static uint32_t called(uint32_t caller, Function function)
{
    uint32_t *known = number_of_key(&tree.function_numbers, (uint64_t)function.name << 32 | function.file, function.line);
    if (*known == 0)
        *known = add_function(function);
    uint32_t number = *known, *child = number_of_key(&tree.trace_numbers, caller, number);
    if (*child == 0) {
        *child = add_trace(number);
        uint32_t before = tree.traces[caller].last;
        if (before)
            tree.traces[before].next = *child;
        else
            tree.traces[caller].first = *child;
        tree.traces[caller].last = *child;
    }
    return *child;
}

/* ---- The stream. ---- */

typedef struct {
    Stream stream;
    uint64_t strings, nodes;
    uint64_t node; /* the next that has a site, UINT64_MAX where there is none */
    uint64_t after; /* the node behind the last one that had */
    uint64_t seen, count; /* sites met so far, nodes that have one */
    uint32_t site;
    int learns; /* the first time: sites go into the tree */
} Allocations;

static void read_site(Allocations *a)
{
    Function frames[MAX_SITE_FRAMES];
    Stream *s = &a->stream;
    uint64_t count = number_below(s, MAX_SITE_FRAMES + 1, "a site's length");
    if (count == 0)
        fail("a site has no frames");
    for (uint64_t i = 0; i < count; i++) {
        frames[i].name = (uint32_t)number_below(s, a->strings, "a frame's name");
        frames[i].file = (uint32_t)number_below(s, a->strings, "a frame's file");
        frames[i].line = (uint32_t)number_below(s, MAX_LINE + 1, "a frame's line");
    }
    a->seen++;
    if (!a->learns)
        return;
    tree.frame_count += count;
    if (tree.frame_count > MAX_FRAMES)
        fail("its sites have more than %d frames", MAX_FRAMES);
    uint32_t at = 0;
    while (count)
        at = called(at, frames[--count]);
    ROOM_FOR_ONE_MORE(tree.leaves, tree.site_count, tree.site_room)
    tree.leaves[tree.site_count++] = at;
}

static void next_allocation(Allocations *a)
{
    Stream *s = &a->stream;
    if (s->pos == s->have)
        fill(s);
    if (s->pos == s->have) {
        a->node = UINT64_MAX;
        return;
    }
    a->node = a->after + number_below(s, (uint64_t)1 << 32, "a gap");
    if (a->node >= a->nodes)
        fail("more nodes have a site than there are");
    uint64_t site = number(s);
    if (site > a->seen)
        fail("a node has site %llu of %llu", (unsigned long long)site, (unsigned long long)a->seen);
    if (site == a->seen)
        read_site(a);
    a->site = (uint32_t)site;
    a->after = a->node + 1;
    a->count++;
}

static Allocations open_allocations(int file, uint64_t start, uint64_t end, uint64_t nodes, uint64_t strings, int learns)
{
    Allocations a = {open_stream(file, 'A', start, end), strings, nodes, 0, 0, 0, 0, 0, learns};
    next_allocation(&a);
    return a;
}

/* Reads all sites into the tree; how many nodes have one. */
static uint64_t learn_sites(int file, uint64_t start, uint64_t end, uint64_t nodes, uint64_t strings)
{
    memset(&tree, 0, sizeof tree);
    add_function((Function){0, 0, 0});
    add_trace(0);
    Allocations a = open_allocations(file, start, end, nodes, strings, 1);
    while (a.node != UINT64_MAX)
        next_allocation(&a);
    return a.count;
}

/* The trace node of a node, which must be asked for in order; 0: it has no site. */
static inline uint64_t trace_of(Allocations *a, uint64_t node, uint64_t size)
{
    if (a->node != node)
        return 0;
    uint32_t found = tree.leaves[a->site];
    tree.traces[found].count++;
    tree.traces[found].size += size;
    next_allocation(a);
    return found + 1;
}

#endif
