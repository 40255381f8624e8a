/* Finding every object: from the roots, then what only the hook leads to, then the rest of the collector's lists. */
#ifndef MEMWATCH_FIND_H
#define MEMWATCH_FIND_H

#include "roots.h"

static List to_visit;

static void find(Label label, PyObject *to)
{
    (void)label;
    if (!flag_is_set(to, SPECIAL) && flag_set(to, SEEN))
        list_add(&to_visit, to);
}

static void visit_found(void)
{
    on_edge = find;
    while (to_visit.count)
        edges_of(to_visit.items[--to_visit.count]);
}

static void find_from_roots(void)
{
    for (uint32_t i = 0; i < synthetic_count; i++)
        for (RootEdge *root = synthetic[i].first; root; root = root->next)
            if (root->to)
                find(0, root->to);
    visit_found();
}

static void mark_hook(Label label, PyObject *to)
{
    (void)label;
    if (!flag_is_set(to, SEEN) && flag_set(to, SPECIAL)) {
        map_slot(&specials, to)->value = HOOK;
        list_add(&to_visit, to);
    }
}

/* What only the hook's own things lead to is left out, too. */
static void leave_out_reached_from(PyObject *own, PyObject *maybe_own)
{
    on_edge = mark_hook;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(own); i++)
        edges_of(PyList_GET_ITEM(own, i));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(maybe_own); i++)
        mark_hook(0, PyList_GET_ITEM(maybe_own, i));
    while (to_visit.count)
        edges_of(to_visit.items[--to_visit.count]);
}

/* Dicts whose keys are attribute names are known before their keys are looked at. */
static void find_namespaces(void)
{
    PyGC_Head *list;
    for (int number = 0; (list = gc_list(number)); number++)
        for (PyGC_Head *at = gc_next(list); at != list; at = gc_next(at)) {
            PyObject *thing = gc_object(at), *dict = NULL;
            Kind kind = type_info(Py_TYPE(thing))->kind;
            if (kind == TYPE)
                dict = type_dict((PyTypeObject *)thing);
            else if (kind == INSTANCE || kind == GENERAL)
                dict = attributes_of(thing, Py_TYPE(thing)).dict;
            if (dict)
                flag_set(dict, NAMESPACE);
        }
}

static PyObject *holder;
static List held_later;

static void mark_held(Label label, PyObject *to)
{
    (void)label;
    if (to == holder || flag_is_set(to, SEEN) || flag_is_set(to, SPECIAL))
        return;
    if (flag_set(to, HELD) && !(is_collected(to) && _PyObject_GC_IS_TRACKED(to)))
        list_add(&held_later, to); /* not in the collector's lists, but may hold others */
}

static void hang_on(uint32_t group, PyObject *thing)
{
    add_root_edge(group, labels.ref, thing, 0);
    find(0, thing);
    visit_found();
}

/* What no root leads to. Only what nothing else here holds hangs on the group; of each ring that is left,
   one object, a class where there is one. */
static void add_unknown(void)
{
    List rest = {NULL, 0, 0};
    PyGC_Head *list;
    for (int number = 0; (list = gc_list(number)); number++)
        for (PyGC_Head *at = gc_next(list); at != list; at = gc_next(at))
            if (!flag_is_set(gc_object(at), SEEN) && !flag_is_set(gc_object(at), SPECIAL))
                list_add(&rest, gc_object(at));
    on_edge = mark_held;
    for (size_t i = 0; i < rest.count; i++)
        edges_of(holder = rest.items[i]);
    while (held_later.count)
        edges_of(holder = held_later.items[--held_later.count]);
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < rest.count; i++) {
            PyObject *thing = rest.items[i];
            int due = pass == 0 ? !flag_is_set(thing, HELD) : pass == 2 || Py_TYPE(thing) == &PyType_Type;
            if (due && !flag_is_set(thing, SEEN))
                hang_on(UNKNOWN, thing);
        }
    list_free(&rest);
    list_free(&held_later);
}

/* Strings that only attribute tables hold. */
static void add_names(void)
{
    for (size_t i = 0; i < shown_keys.room; i++) {
        PyObject *name = (PyObject *)shown_keys.slots[i].key;
        if (name && !flag_is_set(name, SEEN) && !flag_is_set(name, SPECIAL))
            hang_on(NAMES, name);
    }
}

#endif
