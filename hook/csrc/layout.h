/* Everything here depends on the interpreter's private layout: built for one minor version, and checked at run time
   by module.c before the first walk. All reads; nothing here writes to the app's objects. */
#ifndef MEMWATCH_LAYOUT_H
#define MEMWATCH_LAYOUT_H

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>
#if PY_VERSION_HEX < 0x03090000 || PY_VERSION_HEX >= 0x030F0000
#error "the walker knows CPython 3.9 to 3.14; other versions use the pure-Python one"
#endif
#if PY_VERSION_HEX >= 0x030E0000 && PY_VERSION_HEX < 0x030E05F0
#error "CPython 3.14.0 to 3.14.4 has the incremental collector's lists; it uses the pure-Python walker"
#endif
#ifdef Py_GIL_DISABLED
#error "free-threaded builds have no collector's lists; they use the pure-Python walker"
#endif
#undef _PyGC_FINALIZED
#include "internal/pycore_gc.h"
#include "internal/pycore_interp.h"
#if PY_VERSION_HEX >= 0x030B0000
#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_object.h"
#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_genobject.h"
#include "internal/pycore_interpframe.h"
#include "internal/pycore_runtime.h"
#include "internal/pycore_stackref.h"
#endif
#else
#include <frameobject.h>
#endif
#include <structmember.h>

#define AT_LEAST(minor) (PY_VERSION_HEX >= (0x03000000 | (minor) << 16))

#if AT_LEAST(11)
typedef struct _PyInterpreterFrame Frame;
#else
typedef PyFrameObject Frame;
#endif

/* ---- The collector's lists. ---- */

static inline PyGC_Head *gc_next(const PyGC_Head *head)
{
    return (PyGC_Head *)(head->_gc_next & ~(uintptr_t)3);
}

static inline PyObject *gc_object(PyGC_Head *head)
{
    return (PyObject *)(head + 1);
}

/* The heads of all lists, the frozen objects' first; NULL ends them. */
static PyGC_Head *gc_list(int number)
{
    struct _gc_runtime_state *state = &PyInterpreterState_Get()->gc;
    if (number == 0)
        return &state->permanent_generation.head;
    return number <= NUM_GENERATIONS ? &state->generations[NUM_GENERATIONS - number].head : NULL;
}

static inline int is_collected(PyObject *thing)
{
    PyTypeObject *type = Py_TYPE(thing);
    return PyType_IS_GC(type) && (type->tp_is_gc == NULL || type->tp_is_gc(thing));
}

/* ---- Types. ---- */

static PyObject *type_dict(PyTypeObject *type)
{
#if AT_LEAST(12)
    if (type->tp_flags & _Py_TPFLAGS_STATIC_BUILTIN) {
        PyObject *found = PyType_GetDict(type); /* its dict is the interpreter's; counts one up and down */
        Py_XDECREF(found);
        return found;
    }
#endif
    return type->tp_dict;
}

/* What lies before an object, as sys.getsizeof counts it. */
static inline size_t header_size(PyObject *thing)
{
#if AT_LEAST(13)
    if (PyType_Check(thing) && !(((PyTypeObject *)thing)->tp_flags & Py_TPFLAGS_HEAPTYPE))
        return 0; /* a static type was never allocated */
#endif
#if AT_LEAST(11)
    return _PyType_PreHeaderSize(Py_TYPE(thing));
#else
    return is_collected(thing) ? sizeof(PyGC_Head) : 0;
#endif
}

/* ---- Attributes of instances. ---- */

typedef struct {
    PyObject *dict;    /* NULL: none yet */
    PyObject **values; /* NULL: none beside the object */
    Py_ssize_t count;
} Attributes;

#if AT_LEAST(11)
static inline PyObject *shared_key(PyTypeObject *type, Py_ssize_t index)
{
    return DK_UNICODE_ENTRIES(((PyHeapTypeObject *)type)->ht_cached_keys)[index].me_key;
}

static inline void managed_attributes(PyObject *thing, PyTypeObject *type, Attributes *found)
{
    PyDictKeysObject *keys = ((PyHeapTypeObject *)type)->ht_cached_keys;
#if AT_LEAST(13)
    found->dict = (PyObject *)_PyObject_ManagedDictPointer(thing)->dict;
    if (type->tp_flags & Py_TPFLAGS_INLINE_VALUES && keys && _PyObject_InlineValues(thing)->valid)
        found->values = _PyObject_InlineValues(thing)->values;
#elif AT_LEAST(12)
    PyDictOrValues either = *_PyObject_DictOrValuesPointer(thing);
    if (!_PyDictOrValues_IsValues(either))
        found->dict = _PyDictOrValues_GetDict(either);
    else if (keys && (uintptr_t)either.values != (uintptr_t)-1)
        found->values = _PyDictOrValues_GetValues(either)->values;
#else
    found->dict = *_PyObject_ManagedDictPointer(thing);
    if (*_PyObject_ValuesPointer(thing) && keys)
        found->values = (*_PyObject_ValuesPointer(thing))->values;
#endif
    if (found->values)
        found->count = keys->dk_nentries;
}
#endif

static inline Attributes attributes_of(PyObject *thing, PyTypeObject *type)
{
    Attributes found = {NULL, NULL, 0};
#if AT_LEAST(11)
    if (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) {
        managed_attributes(thing, type, &found);
        return found;
    }
#endif
    Py_ssize_t offset = type->tp_dictoffset;
    if (offset < 0) {
        Py_ssize_t items = Py_SIZE(thing) < 0 ? -Py_SIZE(thing) : Py_SIZE(thing);
        offset += (Py_ssize_t)_PyObject_VAR_SIZE(type, items);
    }
    if (offset > 0)
        found.dict = *(PyObject **)((char *)thing + offset);
    return found;
}

static inline int has_attributes(PyTypeObject *type)
{
#if AT_LEAST(11)
    if (type->tp_flags & Py_TPFLAGS_MANAGED_DICT)
        return 1;
#endif
    return type->tp_dictoffset != 0;
}

#endif
