/* The walk: find all objects, number them by address, then write them in that order. Nothing but bitmaps is kept of an
   object. The same graph as _walker_py.py. */
#ifndef MEMWATCH_WALK_H
#define MEMWATCH_WALK_H

#include "dump.h"
#include "text.h"

typedef struct {
    PyObject *modules, *threads, *own, *maybe_own, *chunks; /* lists, made by walker.py */
    int output;               /* the connection, or the file of a dump */
    int is_dump, shown_chars; /* shown_chars: of each str, in a dump */
    unsigned long long limit; /* of a dump's bytes */
    const char *dump_head;
    Header header;            /* of a `.heapsnapshot` */
    const char *key;          /* of marks: 16 bytes */
    int may_call_sizeof;
    int may_shield; /* leave large payloads out of the clone */
    int has_sites;  /* say where objects were allocated */
} Order;

typedef struct {
    uint32_t objects;
    uint64_t size, heap_bytes;
    List chunks; /* numbered now for the first time */
} Findings;

static uint32_t find_all(const Order *order)
{
    make_labels();
    make_code_labels();
    add_groups();
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(order->own); i++)
        stand_for(PyList_GET_ITEM(order->own, i), HOOK);
    add_modules(order->modules);
    add_threads(order->threads);
    find_from_roots();
    leave_out_reached_from(order->own, order->maybe_own);
    add_unknown();
    add_names();
    leave_out_specials();
    list_free(&to_visit);
    return number_objects(synthetic_count);
}

STATE uint64_t next_chunk;
STATE List new_chunks;

static void number_new_chunk(Chunk *chunk, uintptr_t start)
{
    if (chunk->id_base || next_number == chunk->first)
        return;
    chunk->id_base = (uint32_t)(next_chunk++ * PLACES);
    list_add(&new_chunks, start >> CHUNK_SHIFT);
}

/* Numbers the chunks that objects were seen in; `known` are those numbered before, lowest first. */
static List number_chunks(PyObject *known)
{
    next_chunk = 1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(known); i++) {
        uintptr_t chunk = (uintptr_t)PyLong_AsUnsignedLongLong(PyList_GET_ITEM(known, i));
        make_chunk(chunk << CHUNK_SHIFT)->id_base = (uint32_t)(next_chunk++ * PLACES);
    }
    each_chunk(number_new_chunk);
    return new_chunks;
}

/* The whole walk. Gives up where it cannot be finished. */
static Findings walk_heap(const Order *order)
{
    Findings found = {0, 0, 0, {NULL, 0, 0}};
    memcpy(mark_key, order->key, sizeof mark_key);
    may_call_sizeof = order->may_call_sizeof;
    make_chunk_table();
    sites.wanted = order->is_dump && order->has_sites;
    if (order->is_dump)
        begin_dump(order->output, order->limit, order->dump_head, order->shown_chars);
    else
        out.connection = order->output;
    found.objects = find_all(order);
    found.chunks = number_chunks(order->chunks);
    if (order->is_dump)
        write_dump(found.objects);
    else
        write_text(&order->header, found.objects);
    found.size = order->is_dump ? spool.size : out.sent;
    found.heap_bytes = order->is_dump ? dump.heap_bytes : text.heap_bytes;
    return found;
}

#endif
