/* Finding every object: from the roots, then what only the hook leads to, then the rest of the collector's lists. */
#ifndef MEMWATCH_FIND_H
#define MEMWATCH_FIND_H

#include "guard.h"
#include "roots.h"

/* An object is looked at some objects after it was found: by then its memory has come into the cache. */
enum { AHEAD = 16 };
/* Items of one container looked at before those found go first: bounds what waits. */
enum { STEP = 1024 };

STATE List to_visit; /* objects; or where to go on in a container, and the container with its lowest bit set */
STATE PyObject *ahead[AHEAD];
STATE uint32_t ahead_at;

static inline void wait_for_visit(PyObject *thing)
{
    if (type_info(Py_TYPE(thing))->kind != ATOM)
        list_add(&to_visit, (uintptr_t)thing);
}

ALWAYS_INLINE void found(Label label, PyObject *to)
{
    (void)label;
    if (!see(to))
        return;
    __builtin_prefetch(to);
    PyObject *due = ahead[ahead_at % AHEAD];
    ahead[ahead_at++ % AHEAD] = to;
    if (due)
        wait_for_visit(due);
}

static int found_by_traverse(PyObject *to, void *unused)
{
    (void)unused;
    if (to)
        found(0, to);
    return 0;
}

static void drain_ahead(void)
{
    for (int i = 0; i < AHEAD; i++) {
        if (ahead[i])
            wait_for_visit(ahead[i]);
        ahead[i] = NULL;
    }
}

/* A dict of attributes, of which only its owner tells; one that was found before stays what it was taken for. */
static inline void found_namespace(PyObject *dict)
{
    if (dict == NULL)
        return;
    if (PyDict_CheckExact(dict) && ((PyDictObject *)dict)->ma_values == NULL && !is_seen(dict))
        set_flag(dict, NAMESPACE);
    found(0, dict);
}

/* ---- What each kind leads to: the same objects as in edges.h, without their names. ---- */

static inline void go_on_later(PyObject *container, Py_ssize_t from)
{
    list_add(&to_visit, (uintptr_t)from);
    list_add(&to_visit, (uintptr_t)container | 1);
}

static inline void find_in_items(PyObject *container, PyObject **items, Py_ssize_t count, Py_ssize_t from)
{
    Py_ssize_t end = count - from > STEP ? from + STEP : count;
    if (end < count)
        go_on_later(container, end);
    for (Py_ssize_t i = from; i < end; i++)
        if (items[i])
            found(0, items[i]);
}

static inline void find_in_set(PyObject *thing, Py_ssize_t from)
{
    const PySetObject *set = (PySetObject *)thing;
    Py_ssize_t end = set->mask + 1 - from > STEP ? from + STEP : set->mask + 1;
    if (end <= set->mask)
        go_on_later(thing, end);
    for (Py_ssize_t i = from; i < end; i++)
        if (set->table[i].key && set->table[i].hash != -1)
            found(0, set->table[i].key);
}

static inline void find_in_dict(PyObject *dict, Py_ssize_t place)
{
    PyObject *key, *value;
    if (is_namespace(dict)) {
        dict_edges(dict, found);
        return;
    }
    for (int left = STEP; PyDict_Next(dict, &place, &key, &value);) {
        found(0, key);
        found(0, value);
        if (--left == 0) {
            go_on_later(dict, place);
            return;
        }
    }
}

static inline void find_in_instance(PyObject *thing, TypeInfo *info)
{
    Attributes own = attributes_of(thing, info->type);
    if (own.count > info->shared_count)
        label_shared_keys(info, own.count);
    for (Py_ssize_t i = 0; i < own.count; i++)
        if (own.values[i])
            found(0, own.values[i]);
    found_namespace(own.dict);
    found(0, (PyObject *)info->type);
}

static void find_in_general(PyObject *thing, TypeInfo *info)
{
    PyObject *key, *value;
    Attributes own = attributes_of(thing, info->type);
    if (own.count > info->shared_count)
        label_shared_keys(info, own.count);
    found_namespace(own.dict);
    if (info->is_function) {
        PyFunctionObject *function = (PyFunctionObject *)thing;
        if (function->func_closure)
            map_slot(&closures, function->func_closure)->value = (uintptr_t)function->func_code;
    }
    if (may_traverse(thing, info))
        traverse(thing, info, found_by_traverse);
    if (info->items == DICT_ITEMS)
        for (Py_ssize_t place = 0; PyDict_Next(thing, &place, &key, &value);)
            found(0, key);
}

static void find_in(PyObject *thing, Py_ssize_t from)
{
    TypeInfo *info = type_info(Py_TYPE(thing));
    switch (info->kind) {
    case DICT:
        find_in_dict(thing, from);
        break;
    case LIST:
        find_in_items(thing, ((PyListObject *)thing)->ob_item, Py_SIZE(thing), from);
        break;
    case TUPLE:
        find_in_items(thing, ((PyTupleObject *)thing)->ob_item, Py_SIZE(thing), from);
        break;
    case SET:
        find_in_set(thing, from);
        break;
    case INSTANCE:
        find_in_instance(thing, info);
        break;
    case GENERAL:
        find_in_general(thing, info);
        break;
    case TYPE:
        found_namespace(type_dict((PyTypeObject *)thing));
        /* fall through */
    default:
        rare_edges(thing, info);
    }
}

static void visit_found(void)
{
    on_edge = found;
    for (uint32_t count = 0;; count++) {
        if (to_visit.count == 0)
            drain_ahead();
        if (to_visit.count == 0)
            return;
        uintptr_t item = to_visit.items[--to_visit.count];
        if (item & 1)
            find_in((PyObject *)(item - 1), (Py_ssize_t)to_visit.items[--to_visit.count]);
        else
            find_in((PyObject *)item, 0);
        if (count % TICK == TICK - 1)
            tick();
    }
}

static void find_from_roots(void)
{
    for (uint32_t i = 0; i < synthetic_count; i++)
        for (RootEdge *root = synthetic[i].first; root; root = root->next)
            if (root->to)
                found(0, root->to);
    visit_found();
}

/* ---- What is the hook's own. ---- */

static void mark_hook(Label label, PyObject *to)
{
    (void)label;
    if (is_seen(to))
        return;
    stand_for(to, HOOK);
    list_add(&to_visit, (uintptr_t)to);
}

/* What only the hook's own things lead to is left out, too. */
static void leave_out_reached_from(PyObject *own, PyObject *maybe_own)
{
    on_edge = mark_hook;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(own); i++)
        list_add(&to_visit, (uintptr_t)PyList_GET_ITEM(own, i));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(maybe_own); i++)
        mark_hook(0, PyList_GET_ITEM(maybe_own, i));
    while (to_visit.count) {
        PyObject *thing = (PyObject *)to_visit.items[--to_visit.count];
        edges_of(thing, type_info(Py_TYPE(thing)), mark_hook);
    }
}

/* ---- What no root leads to. ---- */

STATE PyObject *holder;
STATE List held_later;

static void mark_held(Label label, PyObject *to)
{
    (void)label;
    if (to == holder || is_seen(to))
        return;
    if (set_flag(to, HELD) && !(is_collected(to) && _PyObject_GC_IS_TRACKED(to)))
        list_add(&held_later, (uintptr_t)to); /* not in the collector's lists, but may hold others */
}

static void mark_held_by(PyObject *thing)
{
    holder = thing;
    edges_of(thing, type_info(Py_TYPE(thing)), mark_held);
}

static void hang_on(uint32_t group, PyObject *thing)
{
    add_root_edge(group, labels.ref, thing, 0);
    found(0, thing);
    visit_found();
}

static void list_unseen(List *rest)
{
    PyGC_Head *list;
    uint32_t count = 0;
    for (int number = 0; (list = gc_list(number)); number++)
        for (PyGC_Head *at = gc_next(list); at != list; at = gc_next(at)) {
            if (!is_seen(gc_object(at)))
                list_add(rest, (uintptr_t)gc_object(at));
            if (++count % TICK == 0)
                tick();
        }
}

/* Only what nothing else here holds hangs on the group; of each ring that is left, one object, a class where there is one. */
static void add_unknown(void)
{
    List rest = {NULL, 0, 0};
    list_unseen(&rest);
    on_edge = mark_held;
    for (size_t i = 0; i < rest.count; i++)
        mark_held_by((PyObject *)rest.items[i]);
    while (held_later.count)
        mark_held_by((PyObject *)held_later.items[--held_later.count]);
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < rest.count; i++) {
            PyObject *thing = (PyObject *)rest.items[i];
            int due = pass == 0 ? !has_flag(thing, HELD) : pass == 2 || Py_TYPE(thing) == &PyType_Type;
            if (due && !is_seen(thing))
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
        if (name && !is_seen(name))
            hang_on(NAMES, name);
    }
}

/* What stands for another node has no number of its own. */
static void leave_out_specials(void)
{
    for (size_t i = 0; i < specials.room; i++)
        if (specials.slots[i].key)
            unsee(specials.slots[i].key);
}

#endif
