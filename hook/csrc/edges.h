/* What an object holds, kind by kind, and under which names: the same rules as _shapes.py, read from memory.

   What is in every heap by the million is inlined into each pass over it (the parameter `call`); the rest calls `on_edge`. */
#ifndef MEMWATCH_EDGES_H
#define MEMWATCH_EDGES_H

#include "known.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Whether a dict's keys are names of attributes, which the whole process shares: an instance's, a class's or a module's. */
ALWAYS_INLINE int is_namespace(PyObject *dict)
{
    return ((PyDictObject *)dict)->ma_values != NULL || has_flag(dict, NAMESPACE);
}

ALWAYS_INLINE void dict_edges(PyObject *dict, EdgeFn call)
{
    PyObject *key, *value;
    int shows_all = 1;
    for (Py_ssize_t place = 0; PyDict_Next(dict, &place, &key, &value);) {
        Label label = key_label(key);
        shows_all &= label != labels.hidden;
        call(label, value);
    }
    if (shows_all && is_namespace(dict))
        return;
    for (Py_ssize_t place = 0; PyDict_Next(dict, &place, &key, &value);)
        call(labels.key, key);
}

ALWAYS_INLINE void list_edges(PyObject *list, EdgeFn call)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
        if (PyList_GET_ITEM(list, i))
            call(element(i), PyList_GET_ITEM(list, i));
}

ALWAYS_INLINE void tuple_edges(PyObject *tuple, EdgeFn call)
{
    const Slot *closure = closures.count ? map_find(&closures, tuple) : NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *name = closure ? free_names((PyCodeObject *)(uintptr_t)closure->value, i) : NULL;
        if (PyTuple_GET_ITEM(tuple, i))
            call(name ? key_label(name) : element(i), PyTuple_GET_ITEM(tuple, i));
    }
}

ALWAYS_INLINE void set_edges(PyObject *thing, EdgeFn call)
{
    const PySetObject *set = (PySetObject *)thing;
    Py_ssize_t index = 0;
    for (Py_ssize_t i = 0; i <= set->mask; i++)
        if (set->table[i].key && set->table[i].hash != -1)
            call(element(index++), set->table[i].key);
}

ALWAYS_INLINE void instance_edges(PyObject *thing, TypeInfo *info, EdgeFn call)
{
    Attributes own = attributes_of(thing, info->type);
    if (own.count > info->shared_count)
        label_shared_keys(info, own.count);
    for (Py_ssize_t i = 0; i < own.count; i++)
        if (own.values[i])
            call(info->shared_labels[i], own.values[i]);
    if (own.dict)
        call(labels.namespace, own.dict);
    call(labels.cls, (PyObject *)info->type);
}

static void code_edges(PyCodeObject *code)
{
    edge(labels.co_consts, code->co_consts);
    edge(labels.co_names, code->co_names);
    edge(labels.co_filename, code->co_filename);
    edge(labels.co_name, code->co_name);
#if AT_LEAST(11)
    edge(labels.co_qualname, code->co_qualname);
    edge(labels.co_linetable, code->co_linetable);
    edge(labels.co_exceptiontable, code->co_exceptiontable);
    edge(labels.co_localsplusnames, code->co_localsplusnames);
    edge(labels.co_localspluskinds, code->co_localspluskinds);
#else
    edge(labels.co_varnames, code->co_varnames);
    edge(labels.co_freevars, code->co_freevars);
    edge(labels.co_cellvars, code->co_cellvars);
    edge(labels.co_code, code->co_code);
#if AT_LEAST(10)
    edge(labels.co_linetable, code->co_linetable);
#else
    edge(labels.co_lnotab, code->co_lnotab);
#endif
#endif
}

static void type_edges(PyTypeObject *type, const TypeInfo *info)
{
    PyObject *dict = type_dict(type);
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) { /* static types are not the collector's */
        edge(labels.namespace, dict);
        edge(labels.mro, type->tp_mro);
        edge(labels.bases, type->tp_bases);
        edge(labels.base, (PyObject *)type->tp_base);
        return;
    }
    known_count = shows_items = 0;
    know(dict, labels.namespace);
    know(Py_TYPE(type), labels.cls);
    know(type->tp_mro, labels.mro);
    know(type->tp_bases, labels.bases);
    know(type->tp_base, labels.base);
    traverse((PyObject *)type, info, visit);
}

static void untracked_edges(PyObject *thing, const TypeInfo *info)
{
    for (int i = 0; i < info->member_count; i++)
        edge(info->members[i].label, *(PyObject **)((char *)thing + info->members[i].offset));
    if (info->type->tp_flags & Py_TPFLAGS_HEAPTYPE)
        edge(labels.cls, (PyObject *)info->type);
}

/* What is not in every heap by the million. */
static void rare_edges(PyObject *thing, TypeInfo *info)
{
    if (info->kind == CODE)
        code_edges((PyCodeObject *)thing);
    else if (info->kind == TYPE)
        type_edges((PyTypeObject *)thing, info);
    else if (info->kind == UNTRACKED)
        untracked_edges(thing, info);
    else
        general_edges(thing, info);
}

/* Calls for everything an object holds: the same edges in the same order each time. `call` is also in `on_edge`. */
ALWAYS_INLINE void edges_of(PyObject *thing, TypeInfo *info, EdgeFn call)
{
    switch (info->kind) {
    case ATOM:
        break;
    case DICT:
        dict_edges(thing, call);
        break;
    case LIST:
        list_edges(thing, call);
        break;
    case TUPLE:
        tuple_edges(thing, call);
        break;
    case SET:
        set_edges(thing, call);
        break;
    case INSTANCE:
        instance_edges(thing, info, call);
        break;
    default:
        rare_edges(thing, info);
    }
}

#endif
