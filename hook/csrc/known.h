/* An object that only its own tp_traverse can show: what it holds gets its names from what is known beforehand. */
#ifndef MEMWATCH_KNOWN_H
#define MEMWATCH_KNOWN_H

#include "frames.h"
#include "seen.h"
#include "types.h"

enum { MAX_KNOWN = 512 };

typedef void (*EdgeFn)(Label label, PyObject *to);

STATE EdgeFn on_edge;
STATE const TypeInfo *traversed; /* whose tp_traverse runs: named if it crashes */

static inline void edge(Label label, PyObject *to)
{
    if (to)
        on_edge(label, to);
}

static inline void traverse(PyObject *thing, const TypeInfo *info, visitproc call)
{
    traversed = info;
    info->type->tp_traverse(thing, call, NULL);
    traversed = NULL;
}

/* Whether an object may be asked by its tp_traverse: in the app only those that the collector itself asks. */
static inline int may_traverse(PyObject *thing, const TypeInfo *info)
{
    return info->type->tp_traverse && is_collected(thing) && (!run.in_app || _PyObject_GC_IS_TRACKED(thing));
}

STATE struct {
    const void *key;
    Label label;
} known[MAX_KNOWN];
STATE int known_count;
STATE Map known_items; /* what a container's subclass contains: address → label, and VISITED */
STATE Py_ssize_t next_item; /* of a deque, which shows its items in order */
STATE int shows_items;
#define VISITED ((Label)1 << 63)

static void know(const void *thing, Label label)
{
    if (thing && known_count < MAX_KNOWN) {
        known[known_count].key = thing;
        known[known_count++].label = label;
    }
}

static void know_item(const void *thing, Label label, int overwrite)
{
    if (thing == NULL)
        return;
    Slot *slot = map_slot(&known_items, thing);
    if (overwrite || slot->value == 0)
        slot->value = label;
}

static int visit(PyObject *to, void *unused)
{
    (void)unused;
    if (to == NULL)
        return 0;
    for (int i = 0; i < known_count; i++)
        if (known[i].key == to) {
            edge(known[i].label, to);
            return 0;
        }
    Slot *slot = map_find(&known_items, to);
    if (slot) {
        Label label = slot->value & ~VISITED;
        slot->value |= VISITED;
        edge(label, to);
    } else {
        edge(shows_items ? element(next_item++) : labels.ref, to);
    }
    return 0;
}

static void know_items(PyObject *thing, Items items)
{
    PyObject *key, *value;
    Py_ssize_t place = 0;
    if (items == LIST_ITEMS || items == TUPLE_ITEMS) {
        PyObject **first = items == LIST_ITEMS ? ((PyListObject *)thing)->ob_item : ((PyTupleObject *)thing)->ob_item;
        for (Py_ssize_t i = 0; i < Py_SIZE(thing); i++)
            know_item(first[i], element(i), 1);
    } else if (items == SET_ITEMS) {
        const PySetObject *set = (PySetObject *)thing;
        for (Py_ssize_t i = 0; i <= set->mask; i++)
            if (set->table[i].key && set->table[i].hash != -1)
                know_item(set->table[i].key, element(place++), 1);
    } else if (items == DICT_ITEMS) {
        while (PyDict_Next(thing, &place, &key, &value))
            know_item(value, key_label(key), 1);
        for (place = 0; PyDict_Next(thing, &place, &key, &value);)
            know_item(key, labels.key, 0);
    }
}

static void know_local(PyObject *name, PyObject *value, int is_cell)
{
    if (!is_cell)
        know(value, key_label(name));
}

static void know_attributes(PyObject *thing, TypeInfo *info)
{
    Attributes own = attributes_of(thing, info->type);
    know(own.dict, labels.namespace);
    if (own.count > info->shared_count)
        label_shared_keys(info, own.count);
    for (Py_ssize_t i = 0; i < own.count; i++)
        know(own.values[i], info->shared_labels[i]);
}

static void know_function(PyFunctionObject *function)
{
    know(function->func_code, labels.code);
    know(function->func_defaults, labels.defaults);
    know(function->func_kwdefaults, labels.kwdefaults);
    know(function->func_name, labels.name);
    know(function->func_qualname, labels.qualname);
#if AT_LEAST(14) /* before it these are members, or not there */
    know(function->func_doc, labels.doc);
    know(function->func_module, labels.module);
    know(function->func_annotate, labels.annotate);
#endif
}

STATE Map closures; /* tuples of cells: address → the code whose free variables they are */

static PyObject *free_names(PyCodeObject *code, Py_ssize_t index)
{
#if AT_LEAST(11)
    Py_ssize_t first = code->co_nlocalsplus - code->co_nfreevars;
    return index < code->co_nfreevars ? PyTuple_GET_ITEM(code->co_localsplusnames, first + index) : NULL;
#else
    return index < PyTuple_GET_SIZE(code->co_freevars) ? PyTuple_GET_ITEM(code->co_freevars, index) : NULL;
#endif
}

static void general_edges(PyObject *thing, TypeInfo *info)
{
    PyObject *key, *value;
    known_count = 0;
    next_item = 0;
    shows_items = info->items == DEQUE_ITEMS;
    know(info->type, labels.cls);
    know_items(thing, info->items);
    know_attributes(thing, info);
    if (info->is_function)
        know_function((PyFunctionObject *)thing);
    if (info->type == &PyCell_Type)
        know(((PyCellObject *)thing)->ob_ref, labels.contents);
    Frame *frame = info->has_frame ? frame_of_generator(thing) : NULL;
    if (info->type == &PyFrame_Type)
        frame = frame_of_object((PyFrameObject *)thing);
    if (frame && frame_is_real(frame) && frame_code(frame)->co_flags & CO_OPTIMIZED)
        frame_locals(frame, know_local);
    for (int i = 0; i < info->member_count; i++)
        know(*(PyObject **)((char *)thing + info->members[i].offset), info->members[i].label);
    if (may_traverse(thing, info))
        traverse(thing, info, visit);
    if (info->items == DICT_ITEMS) /* its traverse shows keys only where they are not all strings */
        for (Py_ssize_t place = 0; PyDict_Next(thing, &place, &key, &value);) {
            Slot *slot = map_find(&known_items, key);
            if (!(slot->value & VISITED)) {
                slot->value |= VISITED;
                edge(labels.key, key);
            }
        }
    map_free(&known_items);
}

#endif
