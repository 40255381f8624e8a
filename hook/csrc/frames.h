/* Code and frames: what a thread or a suspended function holds, by the names of its locals. */
#ifndef MEMWATCH_FRAMES_H
#define MEMWATCH_FRAMES_H

#include "layout.h"

static inline PyObject *code_name(PyCodeObject *code)
{
#if AT_LEAST(11)
    return code->co_qualname;
#else
    return code->co_name;
#endif
}

typedef void (*LocalFn)(PyObject *name, PyObject *value, int is_cell);

#if AT_LEAST(14)
/* What a frame's slot holds: from 3.14 on its lowest bits tell what is no counted reference. */
typedef _PyStackRef FrameSlot;

static inline PyObject *slot_object(FrameSlot slot)
{
    return PyStackRef_IsNull(slot) || PyStackRef_IsTaggedInt(slot) ? NULL : PyStackRef_AsPyObjectBorrow(slot);
}
#elif AT_LEAST(11)
typedef PyObject *FrameSlot;

static inline PyObject *slot_object(FrameSlot slot)
{
    return slot;
}
#endif

#if AT_LEAST(11)
static inline PyCodeObject *frame_code(Frame *frame)
{
#if AT_LEAST(13)
    PyObject *code = slot_object(frame->f_executable);
    return code && PyCode_Check(code) ? (PyCodeObject *)code : NULL;
#else
    return frame->f_code;
#endif
}

/* Whether it is a Python function's frame and no mark of the interpreter's own. */
static inline int frame_is_real(Frame *frame)
{
#if AT_LEAST(14)
    if (frame->owner >= FRAME_OWNED_BY_INTERPRETER)
        return 0;
#elif AT_LEAST(12)
    if (frame->owner == FRAME_OWNED_BY_CSTACK)
        return 0;
#endif
    return frame_code(frame) != NULL;
}

static inline Frame *frame_of_object(PyFrameObject *object)
{
    return object->f_frame;
}

static inline Frame *frame_back(Frame *frame)
{
    return frame->previous;
}

static inline PyObject *frame_object(Frame *frame)
{
    (void)frame;
    return NULL; /* made on demand, and no part of the graph */
}

static int frame_line(Frame *frame)
{
    PyCodeObject *code = frame_code(frame);
    return PyCode_Addr2Line(code, _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT));
}

static void frame_locals(Frame *frame, LocalFn call)
{
    PyCodeObject *code = frame_code(frame);
    for (int i = 0; i < code->co_nlocalsplus; i++) {
        PyObject *value = slot_object(frame->localsplus[i]);
        if (value == NULL)
            continue;
        _PyLocals_Kind kind = _PyLocals_GetKind(code->co_localspluskinds, i);
        int is_cell = kind & (CO_FAST_CELL | CO_FAST_FREE) && PyCell_Check(value);
        call(PyTuple_GET_ITEM(code->co_localsplusnames, i), value, is_cell);
    }
}

static Frame *frame_of_generator(PyObject *generator)
{
    PyGenObject *gen = (PyGenObject *)generator;
#if AT_LEAST(14)
    Frame *frame = &gen->gi_iframe;
#else
    Frame *frame = (Frame *)gen->gi_iframe;
#endif
    return gen->gi_frame_state < FRAME_COMPLETED ? frame : NULL;
}
#else
static inline PyCodeObject *frame_code(Frame *frame)
{
    return frame->f_code;
}

static inline int frame_is_real(Frame *frame)
{
    (void)frame;
    return 1;
}

static inline Frame *frame_of_object(PyFrameObject *object)
{
    return object;
}

static inline Frame *frame_back(Frame *frame)
{
    return frame->f_back;
}

static inline PyObject *frame_object(Frame *frame)
{
    return (PyObject *)frame;
}

static int frame_line(Frame *frame)
{
    return PyFrame_GetLineNumber(frame);
}

static void frame_locals(Frame *frame, LocalFn call)
{
    PyCodeObject *code = frame->f_code;
    Py_ssize_t cells = PyTuple_GET_SIZE(code->co_cellvars), frees = PyTuple_GET_SIZE(code->co_freevars);
    for (Py_ssize_t i = 0; i < code->co_nlocals + cells + frees; i++) {
        PyObject *value = frame->f_localsplus[i], *name;
        if (value == NULL)
            continue;
        if (i < code->co_nlocals)
            name = PyTuple_GET_ITEM(code->co_varnames, i);
        else if (i < code->co_nlocals + cells)
            name = PyTuple_GET_ITEM(code->co_cellvars, i - code->co_nlocals);
        else
            name = PyTuple_GET_ITEM(code->co_freevars, i - code->co_nlocals - cells);
        call(name, value, i >= code->co_nlocals && PyCell_Check(value));
    }
}

static Frame *frame_of_generator(PyObject *generator)
{
    (void)generator;
    return NULL; /* its frame is an object of its own */
}
#endif

#endif
