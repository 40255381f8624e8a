/* Reads a heap dump (docs/formats/heap-dump.md): its three streams, each in a pass of its own. The dump comes out of
   another process, so every number is checked, and whatever is wrong ends the conversion with a sentence. */
#ifndef MEMWATCH_CONVERT_READ_H
#define MEMWATCH_CONVERT_READ_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_HEAD = 5, MAX_BLOCK = 1 << 20, MAX_STRING = 64 << 10, MAX_NUMBER = 10 };
enum { ROOM = 256 << 10 }; /* of a stream's buffer: the longest item, a string, fits several times */
enum { MAX_CLASSES = 1 << 20, MAX_LAYOUTS = 1 << 16, MAX_LABELS = 64 };
enum { NODE_TYPES = 15, EDGE_TYPES = 7, SYNTHETIC = 9, ELEMENT = 1, HIDDEN = 4, LABEL_SHIFT = 3 };
enum { OWN_NAME = 1, OWN_SIZE = 2, NO_EDGES = 4, MARK = 8, ALL_FLAGS = 15 };
#define MAX_SIZE ((uint64_t)1 << 53) /* of one object: what any reader of JSON holds exactly */

/* ---- How a conversion ends early. ---- */

typedef enum { WRONG = 1, NO_MEMORY, CANNOT_READ, CANNOT_WRITE } Problem;

static jmp_buf give_up;
static char problem_text[256];

static _Noreturn void fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(problem_text, sizeof problem_text, format, values);
    va_end(values);
    longjmp(give_up, WRONG);
}

/* Everything a conversion takes is in this list, so that one that is given up leaves nothing behind. */
static struct {
    void **items;
    size_t count, room;
} taken;

static void *grown(void *old, size_t size)
{
    size_t at = 0;
    while (old && taken.items[at] != old)
        at++;
    if (!old) {
        if (taken.count == taken.room) {
            size_t room = taken.room ? 2 * taken.room : 64;
            void **items = realloc(taken.items, room * sizeof *items);
            if (items == NULL)
                longjmp(give_up, NO_MEMORY);
            taken.items = items;
            taken.room = room;
        }
        at = taken.count++;
        taken.items[at] = NULL;
    }
    void *found = realloc(old, size);
    if (found == NULL)
        longjmp(give_up, NO_MEMORY);
    return taken.items[at] = found;
}

static void release_all(void)
{
    for (size_t i = 0; i < taken.count; i++)
        free(taken.items[i]);
    free(taken.items);
    taken.items = NULL;
    taken.count = taken.room = 0;
}

/* ---- A stream: the payloads of all blocks of one kind. ---- */

typedef struct {
    int file;
    char kind;
    uint64_t at, end; /* in the file: what is read next, and where the last block begins */
    uint32_t left;    /* of the block's payload */
    uint8_t *buffer;
    size_t pos, have;
} Stream;

static Stream open_stream(int file, char kind, uint64_t start, uint64_t end)
{
    return (Stream){file, kind, start, end, 0, grown(NULL, ROOM), 0, 0};
}

static void read_at(const Stream *s, void *to, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t got = pread(s->file, (char *)to + done, count - done, (off_t)(s->at + done));
        if (got == 0)
            fail("it was cut short while it was read");
        if (got < 0 && errno != EINTR)
            longjmp(give_up, CANNOT_READ);
        done += got > 0 ? (size_t)got : 0;
    }
}

/* Goes to the next block of the stream; 0 where there is none. */
static int next_block(Stream *s)
{
    uint8_t head[BLOCK_HEAD];
    for (;;) {
        if (s->at == s->end)
            return 0;
        if (s->end - s->at < BLOCK_HEAD)
            fail("a block's head leads over the end");
        read_at(s, head, sizeof head);
        uint32_t length = head[1] | head[2] << 8 | head[3] << 16 | (uint32_t)head[4] << 24;
        s->at += BLOCK_HEAD;
        if (length > MAX_BLOCK || length > s->end - s->at)
            fail("a block of kind %u has %lu bytes", head[0], (unsigned long)length);
        if (head[0] == 'H' || head[0] == 'Z')
            fail("it has a second head or end");
        if (head[0] == (uint8_t)s->kind) {
            s->left = length;
            return 1;
        }
        s->at += length;
    }
}

/* Reads on until the buffer is full or the stream ends. */
static void fill(Stream *s)
{
    memmove(s->buffer, s->buffer + s->pos, s->have - s->pos);
    s->have -= s->pos;
    s->pos = 0;
    while (s->have < ROOM && (s->left || next_block(s))) {
        size_t count = s->left < ROOM - s->have ? s->left : ROOM - s->have;
        read_at(s, s->buffer + s->have, count);
        s->at += count;
        s->left -= (uint32_t)count;
        s->have += count;
    }
}

/* Makes sure that so many bytes are in the buffer. */
static inline void need(Stream *s, size_t count)
{
    if (s->have - s->pos < count) {
        fill(s);
        if (s->have < count)
            fail("its stream %c ends within an item", s->kind);
    }
}

static void check_all_read(Stream *s)
{
    if (s->pos == s->have)
        fill(s);
    if (s->pos < s->have)
        fail("its stream %c goes on behind the last item", s->kind);
}

static uint64_t long_number(Stream *s)
{
    uint64_t value = 0;
    for (int i = 0; i < MAX_NUMBER; i++) {
        need(s, 1);
        uint8_t byte = s->buffer[s->pos++];
        if (i == MAX_NUMBER - 1 && byte > 1)
            break;
        value |= (uint64_t)(byte & 127) << (7 * i);
        if (byte < 128)
            return value;
    }
    fail("its stream %c has a number of more than 64 bits", s->kind);
}

static inline uint64_t number(Stream *s)
{
    if (s->pos < s->have && s->buffer[s->pos] < 128)
        return s->buffer[s->pos++];
    return long_number(s);
}

/* A number below `limit`, which is `what`. */
static inline uint64_t number_below(Stream *s, uint64_t limit, const char *what)
{
    uint64_t value = number(s);
    if (value >= limit)
        fail("%s is %llu, expected less than %llu", what, (unsigned long long)value, (unsigned long long)limit);
    return value;
}

/* `from` and a signed difference; it must be from 0 to below `limit`. */
static inline uint64_t moved(uint64_t from, uint64_t zigzag, uint64_t limit, const char *what)
{
    uint64_t by = zigzag / 2 + (zigzag & 1);
    if (zigzag & 1 ? by > from : by >= limit - from)
        fail("%s is outside 0 to %llu", what, (unsigned long long)limit);
    return zigzag & 1 ? from - by : from + by;
}

/* ---- Nodes. ---- */

typedef struct {
    uint64_t size;
    uint32_t name;
    uint8_t type, flags;
} Class;

typedef struct {
    uint64_t size, edges;
    uint32_t id, name, mark;
    uint8_t type;
} Node;

typedef struct {
    Stream stream;
    uint64_t strings, left; /* how many strings there are, and nodes still to come */
    uint64_t last_id;
    Class *classes;
    size_t class_count, class_room;
} Nodes;

static Nodes open_nodes(int file, uint64_t start, uint64_t end, uint64_t nodes, uint64_t strings)
{
    return (Nodes){open_stream(file, 'N', start, end), strings, nodes, 0, NULL, 0, 0};
}

static void learn_class(Nodes *nodes)
{
    Stream *s = &nodes->stream;
    if (nodes->class_count == MAX_CLASSES)
        fail("it has more than %d classes", MAX_CLASSES);
    if (nodes->class_count == nodes->class_room) {
        nodes->class_room = nodes->class_room ? 2 * nodes->class_room : 256;
        nodes->classes = grown(nodes->classes, nodes->class_room * sizeof *nodes->classes);
    }
    Class *fresh = &nodes->classes[nodes->class_count++];
    fresh->type = (uint8_t)number_below(s, NODE_TYPES, "a node's type");
    fresh->flags = (uint8_t)number_below(s, ALL_FLAGS + 1, "a class's flags");
    fresh->name = (uint32_t)number_below(s, nodes->strings, "a class's name");
    fresh->size = number_below(s, MAX_SIZE, "a class's size");
}

static Node next_node(Nodes *nodes)
{
    Stream *s = &nodes->stream;
    Node node;
    if (nodes->left-- == 0)
        fail("it has edges of more nodes than there are");
    uint64_t number_of_class = number(s);
    if (number_of_class == nodes->class_count)
        learn_class(nodes);
    else if (number_of_class > nodes->class_count)
        fail("a node has class %llu of %zu", (unsigned long long)number_of_class, nodes->class_count);
    const Class *class = &nodes->classes[number_of_class];
    node.type = class->type;
    node.name = class->flags & OWN_NAME ? (uint32_t)number_below(s, nodes->strings, "a node's name") : class->name;
    nodes->last_id = moved(nodes->last_id, number(s), (uint64_t)1 << 32, "a node's id");
    node.id = (uint32_t)nodes->last_id;
    node.size = class->flags & OWN_SIZE ? number_below(s, MAX_SIZE, "a node's size") : class->size;
    node.edges = class->flags & NO_EDGES ? 0 : number(s);
    node.mark = 0;
    if (class->flags & MARK) {
        need(s, 4);
        const uint8_t *mark = s->buffer + s->pos;
        node.mark = mark[0] | mark[1] << 8 | mark[2] << 16 | (uint32_t)mark[3] << 24;
        s->pos += 4;
    }
    return node;
}

/* ---- Edges. ---- */

enum { LIST, SEQUENCE, FIRST_LAYOUT, SLOTS = 64, FAR = 2048 };

typedef struct {
    uint32_t count;
    uint64_t *labels;
} Layout;

typedef struct {
    Stream stream;
    uint64_t strings, nodes;
    Layout *layouts;
    size_t layout_count, layout_room;
    uint64_t *labels; /* room for those of the next new layout */
    size_t label_room;
    uint64_t slots[SLOTS]; /* target + 1; 0 is empty */
} Edges;

static Edges open_edges(int file, uint64_t start, uint64_t end, uint64_t nodes, uint64_t strings)
{
    return (Edges){open_stream(file, 'E', start, end), strings, nodes, NULL, 0, 0, NULL, 0, {0}};
}

static inline uint64_t label(Edges *edges)
{
    uint64_t found = number(&edges->stream), type = found & 7, name = found >> LABEL_SHIFT;
    uint64_t limit = type == ELEMENT || type == HIDDEN ? (uint64_t)1 << 32 : edges->strings;
    if (type >= EDGE_TYPES || name >= limit)
        fail("an edge has type %llu and name %llu", (unsigned long long)type, (unsigned long long)name);
    return found;
}

/* Labels of layouts lie together: they are kept for the length of the pass. */
static uint64_t *label_space(Edges *edges, size_t count)
{
    if (edges->label_room < count) {
        edges->label_room = 4096;
        edges->labels = grown(NULL, edges->label_room * sizeof *edges->labels);
    }
    uint64_t *space = edges->labels;
    edges->labels += count;
    edges->label_room -= count;
    return space;
}

static const Layout *layout(Edges *edges, uint64_t which)
{
    uint64_t known = which - FIRST_LAYOUT;
    if (known < edges->layout_count)
        return &edges->layouts[known];
    if (known > edges->layout_count || known == MAX_LAYOUTS)
        fail("edges have layout %llu of %zu", (unsigned long long)which, edges->layout_count + FIRST_LAYOUT);
    if (edges->layout_count == edges->layout_room) {
        edges->layout_room = edges->layout_room ? 2 * edges->layout_room : 256;
        edges->layouts = grown(edges->layouts, edges->layout_room * sizeof *edges->layouts);
    }
    Layout *fresh = &edges->layouts[edges->layout_count];
    fresh->count = (uint32_t)number_below(&edges->stream, MAX_LABELS + 1, "a layout's length");
    fresh->labels = label_space(edges, fresh->count);
    for (uint32_t i = 0; i < fresh->count; i++)
        fresh->labels[i] = label(edges);
    edges->layout_count++;
    return fresh;
}

/* The next target; `before` is the one before it, and becomes this one where it was written in full. */
static inline uint64_t target(Edges *edges, uint64_t *before)
{
    uint64_t t = number(&edges->stream);
    if (t & 1) {
        if (t >= 2 * SLOTS || edges->slots[t / 2] == 0)
            fail("an edge leads to slot %llu, which is empty", (unsigned long long)(t / 2));
        return edges->slots[t / 2] - 1;
    }
    uint64_t to = moved(*before, t / 2, edges->nodes, "an edge's target");
    uint64_t by = to > *before ? to - *before : *before - to;
    if (by >= FAR)
        edges->slots[to % SLOTS] = to + 1;
    return *before = to;
}

#endif
