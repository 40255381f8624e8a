/* Writing a `.heapsnapshot`: the edges counted, then nodes, then edges, in the order of addresses. For agents that do not
   know the dump; it reads the heap three times. */
#ifndef MEMWATCH_TEXT_H
#define MEMWATCH_TEXT_H

#include "find.h"
#include "connection.h"
#include "marks.h"
#include "naming.h"

enum { NODE_WIDTH = 7 }; /* numbers to a node: as v8format.NODE_FIELDS */
enum { MANY_EDGES = 255 };

typedef struct {
    const char *before, *between, *after; /* the text around the two counts */
} Header;

STATE struct {
    uint8_t *edge_counts; /* by number of the object; MANY_EDGES: see many */
    Map many;             /* by number + 1, as if it were an address */
    uint32_t current, current_edges;
    uint64_t edges, heap_bytes;
    int is_first;
} text;

static int is_in_graph(PyObject *to)
{
    return is_seen(to) || has_flag(to, SPECIAL);
}

static void count_edge(Label label, PyObject *to)
{
    (void)label;
    text.current_edges += is_in_graph(to);
}

static void count_edges_of(PyObject *thing)
{
    text.current_edges = 0;
    edges_of(thing, type_info(Py_TYPE(thing)), count_edge);
    text.edge_counts[text.current++] = text.current_edges < MANY_EDGES ? (uint8_t)text.current_edges : MANY_EDGES;
    if (text.current_edges >= MANY_EDGES)
        map_slot(&text.many, (void *)(uintptr_t)text.current)->value = text.current_edges;
    text.edges += text.current_edges;
    if (text.current % TICK == 0)
        tick();
}

static void out_row(const uint64_t *fields, int count)
{
    for (int i = 0; i < count; i++) {
        if (!text.is_first)
            out_byte(',');
        text.is_first = 0;
        out_number(fields[i]);
    }
}

static void out_node(int type, uint32_t name, uint64_t id, uint64_t size, uint32_t edges, uint32_t mark)
{
    uint64_t fields[NODE_WIDTH] = {(uint64_t)type, name, id, size, edges, mark, 0};
    out_row(fields, NODE_WIDTH);
}

static uint32_t next_edge_count(void)
{
    uint8_t count = text.edge_counts[text.current++];
    return count < MANY_EDGES ? count : (uint32_t)map_find(&text.many, (void *)(uintptr_t)text.current)->value;
}

static void out_object(PyObject *thing, uint32_t id)
{
    char own[MAX_OWN_NAME];
    const TypeInfo *info = type_info(Py_TYPE(thing));
    size_t length = own_name(thing, info, own);
    uint64_t size = size_of(thing, info);
    text.heap_bytes += size;
    out_node(info->node_type, length ? name_number(own, length) : info->name, id, size, next_edge_count(), mark_of(thing));
}

static void out_edge(Label label, PyObject *to)
{
    uint64_t ordinal = number_of(to);
    if (ordinal == NO_NUMBER && !has_flag(to, SPECIAL))
        return;
    if (ordinal == NO_NUMBER)
        ordinal = map_find(&specials, to)->value;
    uint64_t fields[] = {label & 7, label >> LABEL_SHIFT, ordinal * NODE_WIDTH};
    out_row(fields, 3);
}

static void out_root_edges(void)
{
    for (uint32_t i = 0; i < synthetic_count; i++)
        for (RootEdge *root = synthetic[i].first; root; root = root->next)
            if (root->to) {
                out_edge(root->label, root->to);
            } else {
                uint64_t fields[] = {root->label & 7, root->label >> LABEL_SHIFT, (uint64_t)root->ordinal * NODE_WIDTH};
                out_row(fields, 3);
            }
}

typedef enum { COUNT_EDGES, OUT_NODES, OUT_EDGES } Pass;
STATE Pass pass;

static void pass_over(Chunk *chunk, uintptr_t start)
{
    for (uint32_t word = 0; word < WORDS; word++)
        for (uint64_t bits = chunk->seen[word]; bits; bits &= bits - 1) {
            uint32_t place = word * 64 + (uint32_t)__builtin_ctzll(bits);
            PyObject *thing = object_at(chunk, start, place);
            if (pass == COUNT_EDGES)
                count_edges_of(thing);
            else if (pass == OUT_NODES)
                out_object(thing, chunk->id_base + place);
            else
                edges_of(thing, type_info(Py_TYPE(thing)), out_edge);
        }
}

static void run_pass(Pass which, EdgeFn call)
{
    pass = which;
    on_edge = call;
    text.current = 0;
    each_chunk(pass_over);
}

static void out_head(const Header *header, uint32_t objects)
{
    out_text(header->before);
    out_number((uint64_t)synthetic_count + objects);
    out_text(header->between);
    out_number(text.edges);
    out_text(header->after);
}

static void write_text(const Header *header, uint32_t objects)
{
    text.edge_counts = map_pages((size_t)objects + 1);
    run_pass(COUNT_EDGES, count_edge);
    for (uint32_t i = 0; i < synthetic_count; i++)
        text.edges += synthetic[i].edge_count;
    out_head(header, objects);
    text.is_first = 1;
    for (uint32_t i = 0; i < synthetic_count; i++)
        out_node(NODE_SYNTHETIC, synthetic[i].name, i + 1, synthetic[i].size, synthetic[i].edge_count, 0);
    run_pass(OUT_NODES, NULL);
    out_text("],\"edges\":[");
    text.is_first = 1;
    out_root_edges();
    run_pass(OUT_EDGES, out_edge);
    out_text("],\"trace_function_infos\":[],\"trace_tree\":[],\"samples\":[],\"locations\":[],\"strings\":[");
    out_names();
    out_text("]}");
    out_flush();
}

#endif
