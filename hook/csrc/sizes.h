/* How large an object is: sys.getsizeof's answer, without a Python integer made for the usual types. */
#ifndef MEMWATCH_SIZES_H
#define MEMWATCH_SIZES_H

#include "types.h"

static uint64_t asked_size(PyObject *thing, const TypeInfo *info)
{
    uint64_t size = (uint64_t)info->type->tp_basicsize;
    if (info->size_of) {
        PyObject *answer = info->size_of(thing, NULL);
        if (answer && PyLong_Check(answer))
            size = (uint64_t)PyLong_AsSsize_t(answer);
        Py_XDECREF(answer);
        PyErr_Clear();
    } else if (info->type->tp_itemsize && !info->has_sizeof) { /* its own method knows better what its items are */
        Py_ssize_t items = Py_SIZE(thing) < 0 ? -Py_SIZE(thing) : Py_SIZE(thing);
        size += (uint64_t)(items * info->type->tp_itemsize);
    }
    return size;
}

/* 0: to be asked, for versions differ on the smallest one. */
static inline uint64_t int_size(PyObject *thing)
{
#if AT_LEAST(12)
    uint64_t digits = ((PyLongObject *)thing)->long_value.lv_tag >> 3, head = offsetof(PyLongObject, long_value.ob_digit);
#else
    uint64_t digits = (uint64_t)(Py_SIZE(thing) < 0 ? -Py_SIZE(thing) : Py_SIZE(thing)), head = offsetof(PyLongObject, ob_digit);
#endif
    return digits ? head + digits * sizeof(digit) : 0;
}

/* 0: to be asked, for it may have copies of itself in other encodings. */
static inline uint64_t str_size(PyObject *thing)
{
    if (!PyUnicode_IS_COMPACT_ASCII(thing))
        return 0;
#if !AT_LEAST(12)
    if (((PyASCIIObject *)thing)->wstr)
        return 0;
#endif
    return sizeof(PyASCIIObject) + (uint64_t)PyUnicode_GET_LENGTH(thing) + 1;
}

static inline uint64_t set_size(PyObject *thing)
{
    const PySetObject *set = (PySetObject *)thing;
    uint64_t table = set->table == set->smalltable ? 0 : ((uint64_t)set->mask + 1) * sizeof(setentry);
    return (uint64_t)Py_TYPE(thing)->tp_basicsize + table;
}

/* What is known without asking, but for the header; 0: not known. */
static inline uint64_t known_size(PyObject *thing, const TypeInfo *info)
{
    switch (info->kind) {
    case DICT:
        return (uint64_t)_PyDict_SizeOf((PyDictObject *)thing);
    case LIST:
        return sizeof(PyListObject) + (uint64_t)((PyListObject *)thing)->allocated * sizeof(PyObject *);
    case SET:
        return set_size(thing);
    case ATOM:
        return info->type == &PyUnicode_Type ? str_size(thing) : PyLong_Check(thing) ? int_size(thing) : 0;
    default:
        return 0;
    }
}

static uint64_t size_of(PyObject *thing, const TypeInfo *info)
{
    uint64_t known = known_size(thing, info);
    return (known ? known : asked_size(thing, info)) + header_size(thing);
}

#endif
