/* What is known of a class: how its objects hold others, and what they are called. As _shapes.py. */
#ifndef MEMWATCH_TYPES_H
#define MEMWATCH_TYPES_H

#include "labels.h"

/* As v8format.py: types of nodes. */
enum { NODE_STRING = 2, NODE_OBJECT = 3, NODE_CODE = 4, NODE_CLOSURE = 5, NODE_NUMBER = 7, NODE_SYNTHETIC = 9 };

typedef enum { ATOM, DICT, LIST, TUPLE, SET, CODE, TYPE, INSTANCE, UNTRACKED, GENERAL } Kind;
typedef enum { NO_ITEMS, LIST_ITEMS, TUPLE_ITEMS, SET_ITEMS, DICT_ITEMS, DEQUE_ITEMS } Items;

typedef struct {
    PyTypeObject *type;
    Kind kind;
    Items items;
    uint32_t name;
    uint32_t number, flags; /* of the class in a dump: its number + 1; 0: not described yet */
    uint8_t node_type, is_function, has_frame, has_sizeof;
    PyCFunction size_of; /* the class's `__sizeof__` where it is C, else NULL */
    Label *shared_labels; /* of the names that instances share, once label_shared_keys was here */
    Py_ssize_t shared_count;
    int member_count;
    struct {
        Py_ssize_t offset;
        Label label;
    } *members;
} TypeInfo;

enum { MAX_MEMBERS = 200, CACHED_TYPES = 1 << 8 };

STATE Map type_infos;
STATE TypeInfo *cached_infos[CACHED_TYPES];
static traverseproc subtype_traverse; /* the traverse of every class made in Python */
static PyObject *sizeof_name;         /* "__sizeof__" */
static PyTypeObject *deque_type;
STATE int may_call_sizeof;

static uint32_t type_name(PyTypeObject *type)
{
    char text[8 * MAX_NAME_CHARS + 1];
    size_t at = 0;
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE))
        return name_number(type->tp_name, strnlen(type->tp_name, MAX_NAME_CHARS));
    PyObject *module = NULL, *dict = type_dict(type), *key, *value;
    for (Py_ssize_t place = 0; dict && PyDict_Next(dict, &place, &key, &value);)
        if (PyUnicode_CheckExact(key) && PyUnicode_CompareWithASCIIString(key, "__module__") == 0)
            module = value;
    if (module && PyUnicode_CheckExact(module) && PyUnicode_CompareWithASCIIString(module, "builtins")) {
        at = text_of(module, text, MAX_NAME_CHARS);
        text[at++] = '.';
    }
    at += text_of(((PyHeapTypeObject *)type)->ht_qualname, text + at, MAX_NAME_CHARS);
    return name_number(text, at);
}

static PyCFunction find_sizeof(TypeInfo *info)
{
    PyObject *mro = info->type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        PyObject *dict = type_dict(base), *found = dict ? PyDict_GetItemWithError(dict, sizeof_name) : NULL;
        if (found == NULL)
            continue;
        info->has_sizeof = base != &PyBaseObject_Type;
        if (!info->has_sizeof || Py_TYPE(found) != &PyMethodDescr_Type || !may_call_sizeof)
            return NULL;
        PyMethodDef *method = ((PyMethodDescrObject *)found)->d_method;
        return method->ml_flags == METH_NOARGS ? method->ml_meth : NULL;
    }
    return NULL;
}

static void find_members(TypeInfo *info)
{
    PyObject *mro = info->type->tp_mro;
    for (int pass = 0; pass < 2; pass++) {
        int count = 0;
        for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
            PyMemberDef *member = ((PyTypeObject *)PyTuple_GET_ITEM(mro, i))->tp_members;
            for (; member && member->name && count < MAX_MEMBERS; member++) {
                if (member->type != T_OBJECT && member->type != T_OBJECT_EX)
                    continue;
                if (strcmp(member->name, "__dict__") == 0)
                    continue;
                if (pass) {
                    info->members[count].offset = member->offset;
                    info->members[count].label = property(member->name);
                }
                count++;
            }
        }
        if (pass == 0)
            info->members = take((count ? count : 1) * sizeof *info->members);
        info->member_count = count;
    }
}

static Kind kind_of(TypeInfo *info)
{
    PyTypeObject *type = info->type;
    static PyTypeObject *const atoms[] = {&PyUnicode_Type, &PyBytes_Type, &PyByteArray_Type, &PyLong_Type,
                                          &PyFloat_Type,   &PyComplex_Type, &PyBool_Type};
    for (size_t i = 0; i < sizeof atoms / sizeof *atoms; i++)
        if (type == atoms[i])
            return ATOM;
    if (type == &PyDict_Type)
        return DICT;
    if (type == &PyList_Type)
        return LIST;
    if (type == &PyTuple_Type)
        return TUPLE;
    if (type == &PySet_Type || type == &PyFrozenSet_Type)
        return SET;
    if (type == &PyCode_Type)
        return CODE;
    if (PyType_FastSubclass(type, Py_TPFLAGS_TYPE_SUBCLASS))
        return TYPE;
    if (!PyType_IS_GC(type))
        return UNTRACKED;
    if (info->member_count || !has_attributes(type) || type->tp_traverse != subtype_traverse)
        return GENERAL;
    for (PyTypeObject *base = type; base != &PyBaseObject_Type; base = base->tp_base)
        if (base == NULL || base->tp_traverse != subtype_traverse || base->tp_itemsize)
            return GENERAL;
    return INSTANCE;
}

static Items items_of(PyTypeObject *type)
{
    if (PyType_FastSubclass(type, Py_TPFLAGS_LIST_SUBCLASS))
        return LIST_ITEMS;
    if (PyType_FastSubclass(type, Py_TPFLAGS_TUPLE_SUBCLASS))
        return TUPLE_ITEMS;
    if (PyType_FastSubclass(type, Py_TPFLAGS_DICT_SUBCLASS))
        return DICT_ITEMS;
    for (PyTypeObject *base = type; base; base = base->tp_base)
        if (base == &PySet_Type || base == &PyFrozenSet_Type)
            return SET_ITEMS;
        else if (base == deque_type)
            return DEQUE_ITEMS;
    return NO_ITEMS;
}

static uint8_t node_type_of(PyTypeObject *type)
{
    if (type == &PyUnicode_Type)
        return NODE_STRING;
    if (type == &PyLong_Type || type == &PyFloat_Type || type == &PyComplex_Type || type == &PyBool_Type)
        return NODE_NUMBER;
    if (type == &PyCode_Type)
        return NODE_CODE;
    return type == &PyFunction_Type ? NODE_CLOSURE : NODE_OBJECT;
}

/* Learns the labels of the names that a class's instances share. */
static void label_shared_keys(TypeInfo *info, Py_ssize_t count)
{
#if AT_LEAST(11)
    info->shared_labels = take((size_t)count * sizeof(Label));
    info->shared_count = count;
    for (Py_ssize_t i = 0; i < count; i++)
        if (shared_key(info->type, i))
            info->shared_labels[i] = key_label(shared_key(info->type, i));
#else
    (void)info;
    (void)count;
#endif
}

static TypeInfo *find_type_info(PyTypeObject *type)
{
    Slot *slot = map_slot(&type_infos, type);
    if (slot->value)
        return (TypeInfo *)(uintptr_t)slot->value;
    TypeInfo *info = take(sizeof *info);
    slot->value = (uintptr_t)info;
    info->type = type;
    info->name = type_name(type);
    info->node_type = node_type_of(type);
    info->is_function = type == &PyFunction_Type;
    info->has_frame = type == &PyGen_Type || type == &PyCoro_Type || type == &PyAsyncGen_Type;
    info->items = items_of(type);
    info->size_of = find_sizeof(info);
    find_members(info);
    info->kind = kind_of(info);
    return info;
}

static inline TypeInfo *type_info(PyTypeObject *type)
{
    TypeInfo **cached = &cached_infos[((uintptr_t)type >> 4 ^ (uintptr_t)type >> 12) & (CACHED_TYPES - 1)];
    if (*cached == NULL || (*cached)->type != type)
        *cached = find_type_info(type);
    return *cached;
}

#endif
