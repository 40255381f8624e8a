/* Labels of edges: under which name or number an object is held by another. As _labels.py. */
#ifndef MEMWATCH_LABELS_H
#define MEMWATCH_LABELS_H

#include "names.h"

/* As v8format.py: types of edges, and how a label is put together. */
enum { EDGE_ELEMENT = 1, EDGE_PROPERTY = 2, EDGE_INTERNAL = 3, EDGE_SHORTCUT = 5, LABEL_SHIFT = 3 };
enum { MAX_KEY_CHARS = 64, MAX_KEYS = 200000 };

typedef uint64_t Label;

STATE struct {
    Label hidden, key, ref, cls, namespace, code, defaults, kwdefaults, name, qualname, contents, mro, bases, base;
    Label doc, module, annotate;
    Label co_consts, co_names, co_filename, co_name, co_qualname, co_linetable, co_exceptiontable, co_localsplusnames;
    Label co_localspluskinds, co_varnames, co_freevars, co_cellvars, co_code, co_lnotab, f_code, f_globals, f_locals;
} labels;

static inline Label make_label(uint32_t name, int type)
{
    return (Label)name << LABEL_SHIFT | type;
}

static inline Label element(Py_ssize_t index)
{
    return (Label)index << LABEL_SHIFT | EDGE_ELEMENT;
}

static Label property(const char *name)
{
    return make_label(name_of_text(name), EDGE_PROPERTY);
}

static void make_labels(void)
{
    name_of_text(""); /* name 0 */
    labels.hidden = property("[key]");
    labels.key = make_label(name_of_text("key"), EDGE_INTERNAL);
    labels.ref = make_label(name_of_text("ref"), EDGE_INTERNAL);
    labels.cls = make_label(name_of_text("__class__"), EDGE_INTERNAL);
    labels.namespace = make_label(name_of_text("__dict__"), EDGE_INTERNAL);
    labels.code = property("__code__");
    labels.defaults = property("__defaults__");
    labels.kwdefaults = property("__kwdefaults__");
    labels.name = property("__name__");
    labels.qualname = property("__qualname__");
    labels.doc = property("__doc__");
    labels.module = property("__module__");
    labels.annotate = property("__annotate__");
    labels.contents = property("cell_contents");
    labels.mro = property("__mro__");
    labels.bases = property("__bases__");
    labels.base = property("__base__");
    labels.f_code = property("f_code");
    labels.f_globals = property("f_globals");
    labels.f_locals = property("f_locals");
}

static void make_code_labels(void)
{
    labels.co_consts = property("co_consts");
    labels.co_names = property("co_names");
    labels.co_filename = property("co_filename");
    labels.co_name = property("co_name");
    labels.co_qualname = property("co_qualname");
    labels.co_linetable = property("co_linetable");
    labels.co_exceptiontable = property("co_exceptiontable");
    labels.co_localsplusnames = property("co_localsplusnames");
    labels.co_localspluskinds = property("co_localspluskinds");
    labels.co_varnames = property("co_varnames");
    labels.co_freevars = property("co_freevars");
    labels.co_cellvars = property("co_cellvars");
    labels.co_code = property("co_code");
    labels.co_lnotab = property("co_lnotab");
}

STATE Map shown_keys; /* strings shown by name: address → label */

static Label new_key_label(PyObject *key)
{
    if (shown_keys.count >= MAX_KEYS || !PyUnicode_IsIdentifier(key))
        return labels.hidden;
    char text[4 * MAX_KEY_CHARS];
    Label label = make_label(name_number(text, text_of(key, text, MAX_KEY_CHARS)), EDGE_PROPERTY);
    map_slot(&shown_keys, key)->value = label;
    return label;
}

/* The label of a dict's key: its name where it is a short identifier, else `[key]`: that may be data. */
static inline Label key_label(PyObject *key)
{
    if (!PyUnicode_CheckExact(key) || PyUnicode_GET_LENGTH(key) > MAX_KEY_CHARS)
        return labels.hidden;
    const Slot *known = map_find(&shown_keys, key);
    return known ? known->value : new_key_label(key);
}

#endif
