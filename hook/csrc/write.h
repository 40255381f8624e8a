/* Counting and writing what was found, in the order of addresses. */
#ifndef MEMWATCH_WRITE_H
#define MEMWATCH_WRITE_H

#include "find.h"
#include "marks.h"

enum { NODE_WIDTH = 7 }; /* numbers to a node: as v8format.NODE_FIELDS */
enum { MAX_PATH_CHARS = 1024 };

enum { MANY_EDGES = 255 };
static uint8_t *edge_counts; /* by number of the object; MANY_EDGES: see many_edges */
static Map many_edges;       /* by number + 1, as if it were an address */
static uint32_t current, current_edges;
static uint64_t edges_in_all;
static int is_first;

static int is_in_graph(PyObject *to)
{
    return flag_is_set(to, SEEN) || flag_is_set(to, SPECIAL);
}

static void count_edge(Label label, PyObject *to)
{
    (void)label;
    current_edges += is_in_graph(to);
}

static void count_edges_of(void *thing, const Chunk *chunk)
{
    (void)chunk;
    current_edges = 0;
    edges_of(thing);
    edge_counts[current] = current_edges < MANY_EDGES ? (uint8_t)current_edges : MANY_EDGES;
    current++;
    if (current_edges >= MANY_EDGES)
        map_slot(&many_edges, (void *)(uintptr_t)current)->value = current_edges;
    edges_in_all += current_edges;
}

static void out_row(const uint64_t *fields, int count)
{
    for (int i = 0; i < count; i++) {
        if (!is_first)
            out_byte(',');
        is_first = 0;
        out_number(fields[i]);
    }
}

static void out_node(int type, uint32_t name, uint64_t id, uint64_t size, uint32_t edges, uint32_t mark)
{
    uint64_t fields[NODE_WIDTH] = {(uint64_t)type, name, id, size, edges, mark, 0};
    out_row(fields, NODE_WIDTH);
}

static uint32_t name_of_code(PyCodeObject *code)
{
    char text[8 * MAX_PATH_CHARS];
    size_t at = text_of(code_name(code), text, MAX_NAME_CHARS);
    text[at++] = ' ';
    text[at++] = '(';
    at += text_of(code->co_filename, text + at, MAX_PATH_CHARS);
    at += (size_t)snprintf(text + at, sizeof text - at, ":%d)", code->co_firstlineno);
    return name_number(text, at);
}

static uint32_t name_of(PyObject *thing, const TypeInfo *info)
{
    char text[8 * MAX_NAME_CHARS + 1];
    size_t at = 0;
    if (info->kind == CODE)
        return name_of_code((PyCodeObject *)thing);
    if (!info->is_function)
        return info->name;
    PyFunctionObject *function = (PyFunctionObject *)thing;
    if (function->func_module && PyUnicode_CheckExact(function->func_module)) {
        at = text_of(function->func_module, text, MAX_NAME_CHARS);
        text[at++] = '.';
    }
    at += text_of(function->func_qualname, text + at, MAX_NAME_CHARS);
    return name_number(text, at);
}

static uint32_t next_edge_count(void)
{
    uint8_t count = edge_counts[current++];
    return count < MANY_EDGES ? count : (uint32_t)map_find(&many_edges, (void *)(uintptr_t)current)->value;
}

static void out_object(void *thing, const Chunk *chunk)
{
    const TypeInfo *info = type_info(Py_TYPE((PyObject *)thing));
    uint64_t id = (uint64_t)chunk->id_base + (((uintptr_t)thing >> PLACE_SHIFT) & (PLACES - 1));
    out_node(info->node_type, name_of(thing, info), id, size_of(thing, info), next_edge_count(), mark_of(thing));
}

static void out_edge(Label label, PyObject *to)
{
    uint64_t ordinal;
    if (flag_is_set(to, SPECIAL))
        ordinal = map_find(&specials, to)->value;
    else if (flag_is_set(to, SEEN))
        ordinal = number_of(to);
    else
        return;
    uint64_t fields[] = {label & 7, label >> LABEL_SHIFT, ordinal * NODE_WIDTH};
    out_row(fields, 3);
}

static void out_edges_of(void *thing, const Chunk *chunk)
{
    (void)chunk;
    edges_of(thing);
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

/* Numbers the chunks that objects were seen in; `chunks` are those numbered before, lowest first. */
static void number_chunks(PyObject *chunks, List *new)
{
    uint64_t next = 1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(chunks); i++) {
        uintptr_t chunk = (uintptr_t)PyLong_AsUnsignedLongLong(PyList_GET_ITEM(chunks, i));
        chunk_of(chunk << CHUNK_SHIFT, 1)->id_base = (uint32_t)(next++ * PLACES);
    }
    for (uintptr_t top = 0; top < 1 << TOP_BITS; top++)
        for (uintptr_t low = 0; chunk_table[top] && low < 1 << LOW_BITS; low++) {
            Chunk *chunk = chunk_table[top][low];
            if (chunk && chunk->flags[SEEN] && chunk->id_base == 0) {
                chunk->id_base = (uint32_t)(next++ * PLACES);
                list_add(new, (void *)(top << LOW_BITS | low));
            }
        }
}

#endif
