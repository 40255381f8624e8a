/* What an object holds, and under which names: the same rules as _shapes.py and _labels.py, read from memory. */
#ifndef MEMWATCH_EDGES_H
#define MEMWATCH_EDGES_H

#include "layout.h"
#include "output.h"

/* As v8format.py: types of nodes and edges, and how an edge's label is put together. */
enum { NODE_STRING = 2, NODE_OBJECT = 3, NODE_CODE = 4, NODE_CLOSURE = 5, NODE_NUMBER = 7, NODE_SYNTHETIC = 9 };
enum { EDGE_ELEMENT = 1, EDGE_PROPERTY = 2, EDGE_INTERNAL = 3, EDGE_SHORTCUT = 5, LABEL_SHIFT = 3 };
enum { MAX_KEY_CHARS = 64, MAX_KEYS = 200000, MAX_NAME_CHARS = 200, MAX_MEMBERS = 200, MAX_KNOWN = 512 };

typedef uint64_t Label;
typedef void (*EdgeFn)(Label label, PyObject *to);

static EdgeFn on_edge;

static struct {
    Label hidden, key, ref, cls, namespace, code, defaults, kwdefaults, name, qualname, contents, mro, bases, base;
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
    labels.contents = property("cell_contents");
    labels.mro = property("__mro__");
    labels.bases = property("__bases__");
    labels.base = property("__base__");
}

static inline void edge(Label label, PyObject *to)
{
    if (to)
        on_edge(label, to);
}

/* ---- Texts of the app's strings. ---- */

/* The first characters of a str as UTF-8 in `text` (4 bytes a character); 0 where it is no str. */
static size_t text_of(PyObject *string, char *text, Py_ssize_t limit)
{
    if (string == NULL || !PyUnicode_Check(string))
        return 0;
#if !AT_LEAST(12)
    if (!PyUnicode_IS_READY(string))
        return 0;
#endif
    Py_ssize_t count = PyUnicode_GET_LENGTH(string);
    size_t at = 0;
    for (Py_ssize_t i = 0; i < count && i < limit; i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(string, i);
        if (c >= 0xD800 && c < 0xE000)
            c = '?';
        if (c < 0x80) {
            text[at++] = (char)c;
            continue;
        }
        if (c < 0x800) {
            text[at++] = (char)(0xC0 | c >> 6);
        } else {
            if (c < 0x10000) {
                text[at++] = (char)(0xE0 | c >> 12);
            } else {
                text[at++] = (char)(0xF0 | c >> 18);
                text[at++] = (char)(0x80 | (c >> 12 & 63));
            }
            text[at++] = (char)(0x80 | (c >> 6 & 63));
        }
        text[at++] = (char)(0x80 | (c & 63));
    }
    return at;
}

static Map shown_keys; /* strings shown by name: address → label */

/* The label of a dict's key: its name where it is a short identifier, else `[key]`: that may be data. */
static Label key_label(PyObject *key)
{
    if (!PyUnicode_CheckExact(key) || PyUnicode_GET_LENGTH(key) > MAX_KEY_CHARS)
        return labels.hidden;
    const Slot *known = map_find(&shown_keys, key);
    if (known)
        return known->value;
    if (shown_keys.count >= MAX_KEYS || !PyUnicode_IsIdentifier(key))
        return labels.hidden;
    char text[4 * MAX_KEY_CHARS];
    Label label = make_label(name_number(text, text_of(key, text, MAX_KEY_CHARS)), EDGE_PROPERTY);
    map_slot(&shown_keys, key)->value = label;
    return label;
}

/* ---- What is known of a class. ---- */

typedef enum { ATOM, DICT, LIST, TUPLE, SET, CODE, TYPE, INSTANCE, UNTRACKED, GENERAL } Kind;
typedef enum { NO_ITEMS, LIST_ITEMS, TUPLE_ITEMS, SET_ITEMS, DICT_ITEMS, DEQUE_ITEMS } Items;

typedef struct {
    PyTypeObject *type;
    Kind kind;
    Items items;
    uint32_t name;
    uint8_t node_type, is_function, has_frame;
    PyCFunction size_of; /* the class's `__sizeof__` where it is C, else NULL */
    int member_count;
    struct {
        Py_ssize_t offset;
        Label label;
    } *members;
} TypeInfo;

static Map type_infos;
static traverseproc subtype_traverse; /* the traverse of every class made in Python */
static PyObject *sizeof_name;         /* "__sizeof__" */
static PyTypeObject *deque_type;
static int may_call_sizeof;

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

static PyCFunction find_sizeof(PyTypeObject *type)
{
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        PyObject *dict = type_dict(base), *found = dict ? PyDict_GetItemWithError(dict, sizeof_name) : NULL;
        if (found == NULL)
            continue;
        if (base == &PyBaseObject_Type || Py_TYPE(found) != &PyMethodDescr_Type || !may_call_sizeof)
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

static const TypeInfo *type_info(PyTypeObject *type)
{
    Slot *slot = map_slot(&type_infos, type);
    if (slot->value)
        return (const TypeInfo *)(uintptr_t)slot->value;
    TypeInfo *info = take(sizeof *info);
    slot->value = (uintptr_t)info;
    info->type = type;
    info->name = type_name(type);
    info->node_type = node_type_of(type);
    info->is_function = type == &PyFunction_Type;
    info->has_frame = type == &PyGen_Type || type == &PyCoro_Type || type == &PyAsyncGen_Type;
    info->items = items_of(type);
    info->size_of = find_sizeof(type);
    find_members(info);
    info->kind = kind_of(info);
    return info;
}

static uint64_t size_of(PyObject *thing, const TypeInfo *info)
{
    uint64_t size = (uint64_t)info->type->tp_basicsize;
    if (info->type == &PyList_Type) {
        size += (uint64_t)((PyListObject *)thing)->allocated * sizeof(PyObject *);
    } else if (info->size_of) {
        PyObject *answer = info->size_of(thing, NULL);
        if (answer && PyLong_Check(answer))
            size = (uint64_t)PyLong_AsSsize_t(answer);
        Py_XDECREF(answer);
        PyErr_Clear();
    } else if (info->type->tp_itemsize) {
        Py_ssize_t items = Py_SIZE(thing) < 0 ? -Py_SIZE(thing) : Py_SIZE(thing);
        size += (uint64_t)(items * info->type->tp_itemsize);
    }
    return size + header_size(thing);
}

/* ---- Names found for an object's referents, before its traverse shows them. ---- */

static struct {
    const void *key;
    Label label;
} known[MAX_KNOWN];
static int known_count;
static Map known_items; /* what a container's subclass contains: address → label, and VISITED */
static Py_ssize_t next_item; /* of a deque, which shows its items in order */
static int shows_items;
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

static void know_attributes(PyObject *thing, PyTypeObject *type)
{
    Attributes own = attributes_of(thing, type);
    if (own.dict) {
        flag_set(own.dict, NAMESPACE);
        know(own.dict, labels.namespace);
    }
#if AT_LEAST(11)
    for (Py_ssize_t i = 0; i < own.count; i++)
        know(own.values[i], key_label(shared_key(type, i)));
#endif
}

static void know_function(PyFunctionObject *function)
{
    know(function->func_code, labels.code);
    know(function->func_defaults, labels.defaults);
    know(function->func_kwdefaults, labels.kwdefaults);
    know(function->func_name, labels.name);
    know(function->func_qualname, labels.qualname);
}

/* ---- Edges, kind by kind. ---- */

static Map closures; /* tuples of cells: address → the code whose free variables they are */

static PyObject *free_names(PyCodeObject *code, Py_ssize_t index)
{
#if AT_LEAST(11)
    Py_ssize_t first = code->co_nlocalsplus - code->co_nfreevars;
    return index < code->co_nfreevars ? PyTuple_GET_ITEM(code->co_localsplusnames, first + index) : NULL;
#else
    return index < PyTuple_GET_SIZE(code->co_freevars) ? PyTuple_GET_ITEM(code->co_freevars, index) : NULL;
#endif
}

static void general_edges(PyObject *thing, const TypeInfo *info)
{
    PyObject *key, *value;
    known_count = 0;
    next_item = 0;
    shows_items = info->items == DEQUE_ITEMS;
    know(info->type, labels.cls);
    know_items(thing, info->items);
    know_attributes(thing, info->type);
    if (info->is_function) {
        PyFunctionObject *function = (PyFunctionObject *)thing;
        know_function(function);
        if (function->func_closure)
            map_slot(&closures, function->func_closure)->value = (uintptr_t)function->func_code;
    }
    if (info->type == &PyCell_Type)
        know(((PyCellObject *)thing)->ob_ref, labels.contents);
    Frame *frame = info->has_frame ? frame_of_generator(thing) : NULL;
    if (info->type == &PyFrame_Type)
        frame = frame_of_object((PyFrameObject *)thing);
    if (frame && frame_is_real(frame) && frame_code(frame)->co_flags & CO_OPTIMIZED)
        frame_locals(frame, know_local);
    for (int i = 0; i < info->member_count; i++)
        know(*(PyObject **)((char *)thing + info->members[i].offset), info->members[i].label);
    if (is_collected(thing) && info->type->tp_traverse)
        info->type->tp_traverse(thing, visit, NULL);
    if (info->items == DICT_ITEMS) /* its traverse shows keys only where they are not all strings */
        for (Py_ssize_t place = 0; PyDict_Next(thing, &place, &key, &value);) {
            Slot *slot = map_find(&known_items, key);
            if (!(slot->value & VISITED)) {
                slot->value |= VISITED;
                edge(labels.key, key);
            }
        }
    if (known_items.room) {
        munmap(known_items.slots, known_items.room * sizeof(Slot));
        known_items = (Map){NULL, 0, 0};
    }
}

static void dict_edges(PyObject *dict)
{
    PyObject *key, *value;
    int shows_all = 1, is_namespace = flag_is_set(dict, NAMESPACE);
    for (Py_ssize_t place = 0; PyDict_Next(dict, &place, &key, &value);) {
        Label label = key_label(key);
        shows_all = shows_all && label != labels.hidden;
        edge(label, value);
    }
    if (is_namespace && shows_all) /* attribute names: the whole process shares them */
        return;
    for (Py_ssize_t place = 0; PyDict_Next(dict, &place, &key, &value);)
        edge(labels.key, key);
}

static void tuple_edges(PyObject *tuple)
{
    const Slot *closure = closures.count ? map_find(&closures, tuple) : NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *name = closure ? free_names((PyCodeObject *)(uintptr_t)closure->value, i) : NULL;
        edge(name ? key_label(name) : element(i), PyTuple_GET_ITEM(tuple, i));
    }
}

static void set_edges(PyObject *thing)
{
    const PySetObject *set = (PySetObject *)thing;
    Py_ssize_t index = 0;
    for (Py_ssize_t i = 0; i <= set->mask; i++)
        if (set->table[i].key && set->table[i].hash != -1)
            edge(element(index++), set->table[i].key);
}

static void code_edges(PyCodeObject *code)
{
    edge(property("co_consts"), code->co_consts);
    edge(property("co_names"), code->co_names);
    edge(property("co_filename"), code->co_filename);
    edge(property("co_name"), code->co_name);
#if AT_LEAST(11)
    edge(property("co_qualname"), code->co_qualname);
    edge(property("co_linetable"), code->co_linetable);
    edge(property("co_exceptiontable"), code->co_exceptiontable);
    edge(property("co_localsplusnames"), code->co_localsplusnames);
    edge(property("co_localspluskinds"), code->co_localspluskinds);
#else
    edge(property("co_varnames"), code->co_varnames);
    edge(property("co_freevars"), code->co_freevars);
    edge(property("co_cellvars"), code->co_cellvars);
    edge(property("co_code"), code->co_code);
#if AT_LEAST(10)
    edge(property("co_linetable"), code->co_linetable);
#else
    edge(property("co_lnotab"), code->co_lnotab);
#endif
#endif
}

static void type_edges(PyTypeObject *type)
{
    PyObject *dict = type_dict(type);
    if (dict)
        flag_set(dict, NAMESPACE);
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
    Py_TYPE(type)->tp_traverse((PyObject *)type, visit, NULL);
}

static void instance_edges(PyObject *thing, PyTypeObject *type)
{
    Attributes own = attributes_of(thing, type);
#if AT_LEAST(11)
    for (Py_ssize_t i = 0; i < own.count; i++)
        if (own.values[i])
            edge(key_label(shared_key(type, i)), own.values[i]);
#endif
    edge(labels.namespace, own.dict);
    edge(labels.cls, (PyObject *)type);
}

static void untracked_edges(PyObject *thing, const TypeInfo *info)
{
    for (int i = 0; i < info->member_count; i++)
        edge(info->members[i].label, *(PyObject **)((char *)thing + info->members[i].offset));
    if (info->type->tp_flags & Py_TPFLAGS_HEAPTYPE)
        edge(labels.cls, (PyObject *)info->type);
}

/* Calls `on_edge` for everything an object holds: the same edges in the same order each time. */
static void edges_of(PyObject *thing)
{
    const TypeInfo *info = type_info(Py_TYPE(thing));
    switch (info->kind) {
    case ATOM:
        break;
    case DICT:
        dict_edges(thing);
        break;
    case LIST:
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(thing); i++)
            edge(element(i), PyList_GET_ITEM(thing, i));
        break;
    case TUPLE:
        tuple_edges(thing);
        break;
    case SET:
        set_edges(thing);
        break;
    case CODE:
        code_edges((PyCodeObject *)thing);
        break;
    case TYPE:
        type_edges((PyTypeObject *)thing);
        break;
    case INSTANCE:
        instance_edges(thing, info->type);
        break;
    case UNTRACKED:
        untracked_edges(thing, info);
        break;
    case GENERAL:
        general_edges(thing, info);
    }
}

#endif
