/* The nodes before the objects: groups, threads, frames, and what they lead to. As in _walker_py.py. */
#ifndef MEMWATCH_ROOTS_H
#define MEMWATCH_ROOTS_H

#include <stdio.h>

#include "edges.h"
#include "sizes.h"

enum { ROOT, MODULES, THREADS, NAMES, UNKNOWN, HOOK, GROUPS };
enum { MAX_FRAMES = 2000 }; /* of one thread: the innermost ones */
enum { MAX_SYNTHETIC = 1 << 20 }; /* a reserve of address space */

typedef struct RootEdge {
    struct RootEdge *next;
    Label label;
    PyObject *to;     /* an object, or NULL */
    uint32_t ordinal; /* else the synthetic node */
} RootEdge;

typedef struct {
    uint32_t name, edge_count;
    uint64_t size;
    RootEdge *first, **last;
} Synthetic;

STATE Synthetic *synthetic;
STATE uint32_t synthetic_count;
STATE Map specials; /* objects that stand for a synthetic node: address → ordinal */

static uint32_t add_synthetic(uint32_t name, uint64_t size)
{
    if (synthetic_count == MAX_SYNTHETIC - 1)
        return synthetic_count;
    Synthetic *node = &synthetic[synthetic_count];
    *node = (Synthetic){name, 0, size, NULL, NULL};
    node->last = &node->first;
    return synthetic_count++;
}

static void add_root_edge(uint32_t from, Label label, PyObject *to, uint32_t ordinal)
{
    RootEdge *new = take(sizeof *new);
    *new = (RootEdge){NULL, label, to, ordinal};
    *synthetic[from].last = new;
    synthetic[from].last = &new->next;
    synthetic[from].edge_count++;
}

static void add_child(uint32_t parent, uint32_t child)
{
    add_root_edge(parent, element(synthetic[parent].edge_count), NULL, child);
}

static void add_groups(void)
{
    static const char *const groups[GROUPS] = {"",           "(modules)", "(threads)", "(attribute names)", "(unknown holders)",
                                               "(memwatch hook)"};
    synthetic = map_pages(MAX_SYNTHETIC * sizeof *synthetic);
    for (int i = 0; i < GROUPS; i++)
        add_synthetic(name_of_text(groups[i]), 0);
    for (int i = 1; i < GROUPS; i++)
        add_child(ROOT, (uint32_t)i);
}

static void stand_for(PyObject *thing, uint32_t ordinal)
{
    see(thing);
    set_flag(thing, SPECIAL);
    map_slot(&specials, thing)->value = ordinal;
}

static void add_modules(PyObject *modules)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(modules); i++) {
        PyObject *pair = PyList_GET_ITEM(modules, i), *module = PyTuple_GET_ITEM(pair, 1);
        char text[4 * MAX_NAME_CHARS];
        uint32_t name = name_number(text, text_of(PyTuple_GET_ITEM(pair, 0), text, MAX_NAME_CHARS));
        if (has_flag(module, SPECIAL))
            continue;
        PyObject *dict = attributes_of(module, Py_TYPE(module)).dict;
        if (dict && PyDict_CheckExact(dict))
            set_flag(dict, NAMESPACE);
        add_root_edge(MODULES, make_label(name, EDGE_PROPERTY), module, 0);
        add_root_edge(ROOT, make_label(name, EDGE_SHORTCUT), module, 0);
    }
}

STATE uint32_t current_frame;

static void add_local(PyObject *name, PyObject *value, int is_cell)
{
    if (is_cell)
        value = ((PyCellObject *)value)->ob_ref;
    if (value)
        add_root_edge(current_frame, key_label(name), value, 0);
}

static uint32_t frame_name(Frame *frame)
{
    char text[8 * MAX_NAME_CHARS + 32], file[4 * MAX_NAME_CHARS + 1];
    PyCodeObject *code = frame_code(frame);
    size_t at = text_of(code_name(code), text, MAX_NAME_CHARS);
    Py_ssize_t length = PyUnicode_GET_LENGTH(code->co_filename), slash = length;
    while (slash > 0 && PyUnicode_READ_CHAR(code->co_filename, slash - 1) != '/')
        slash--;
    size_t end = 0;
    for (Py_ssize_t i = slash; i < length && end < 4 * MAX_NAME_CHARS; i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(code->co_filename, i);
        file[end++] = c < 0x80 ? (char)c : '?';
    }
    file[end] = 0;
    at += (size_t)snprintf(text + at, sizeof text - at, " (%s:%d)", file, frame_line(frame));
    return name_number(text, at < sizeof text ? at : sizeof text - 1);
}

static void add_frame(uint32_t thread, Frame *frame)
{
    PyObject *object = frame_object(frame);
    uint64_t size = object ? size_of(object, type_info(Py_TYPE(object))) : 0;
    current_frame = add_synthetic(frame_name(frame), size);
    add_child(thread, current_frame);
    if (object)
        stand_for(object, current_frame);
    PyCodeObject *code = frame_code(frame);
    add_root_edge(current_frame, labels.f_code, (PyObject *)code, 0);
    if (frame->f_globals)
        add_root_edge(current_frame, labels.f_globals, frame->f_globals, 0);
    if (code->co_flags & CO_OPTIMIZED)
        frame_locals(frame, add_local);
    else if (frame->f_locals)
        add_root_edge(current_frame, labels.f_locals, frame->f_locals, 0);
}

static void add_threads(PyObject *threads)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(threads); i++) {
        PyObject *pair = PyList_GET_ITEM(threads, i);
        char text[4 * MAX_NAME_CHARS];
        size_t length = text_of(PyTuple_GET_ITEM(pair, 0), text, MAX_NAME_CHARS);
        uint32_t thread = add_synthetic(name_number(text, length), 0);
        add_child(THREADS, thread);
        Frame *frame = frame_of_object((PyFrameObject *)PyTuple_GET_ITEM(pair, 1));
        for (int depth = 0; frame && depth < MAX_FRAMES; frame = frame_back(frame))
            if (frame_is_real(frame)) {
                add_frame(thread, frame);
                depth++;
            }
    }
}

#endif
