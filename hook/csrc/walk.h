/* The walk: find all objects, number them by address, then write nodes and edges in that order. Edges are read off the
   heap anew in each pass; nothing but bitmaps and one byte per object is kept. The same graph as _walker_py.py. */
#ifndef MEMWATCH_WALK_H
#define MEMWATCH_WALK_H

#include "write.h"

typedef struct {
    PyObject *modules, *threads, *own, *maybe_own, *chunks; /* lists, made by walker.py */
    const char *key;                            /* of marks: 16 bytes */
    const char *header[3];                      /* the text around the two counts */
} Order;

static uint32_t find_all(const Order *order)
{
    make_labels();
    add_groups();
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(order->own); i++)
        stand_for(PyList_GET_ITEM(order->own, i), HOOK);
    add_modules(order->modules);
    add_threads(order->threads);
    find_namespaces();
    find_from_roots();
    leave_out_reached_from(order->own, order->maybe_own);
    add_unknown();
    add_names();
    list_free(&to_visit);
    return number_objects(synthetic_count);
}

static void write_all(const Order *order, uint32_t objects)
{
    edge_counts = map_pages(((size_t)objects + 1) * sizeof *edge_counts);
    on_edge = count_edge;
    each_object(count_edges_of);
    for (uint32_t i = 0; i < synthetic_count; i++)
        edges_in_all += synthetic[i].edge_count;
    out_text(order->header[0]);
    out_number((uint64_t)synthetic_count + objects);
    out_text(order->header[1]);
    out_number(edges_in_all);
    out_text(order->header[2]);
    is_first = 1;
    for (uint32_t i = 0; i < synthetic_count; i++)
        out_node(NODE_SYNTHETIC, synthetic[i].name, i + 1, synthetic[i].size, synthetic[i].edge_count, 0);
    current = 0;
    each_object(out_object);
    out_text("],\"edges\":[");
    is_first = 1;
    out_root_edges();
    on_edge = out_edge;
    each_object(out_edges_of);
    out_text("],\"trace_function_infos\":[],\"trace_tree\":[],\"samples\":[],\"locations\":[],\"strings\":[");
    out_names();
    out_text("]}");
    out_flush();
}

#endif
