/* memwatch_hook._walker: walks the heap without writing a reference count, in a cloned child or, under the GIL, in the app.

   The clone is raw: no exit signal (the app's wait() and SIGCHLD never see it) and no atfork handlers. */
#define _GNU_SOURCE
#include "child.h"

enum { ORDER_VERSION = 2 }; /* of the arguments below: as ORDER in walker.py, which may come from another folder */

static int parse_levels(PyObject *levels)
{
    guard.level_count = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(levels) && i < MAX_LEVELS; i++) {
        Level *level = &guard.levels[guard.level_count];
        if (!PyArg_ParseTuple(PyList_GET_ITEM(levels, i), "sssL", &level->usage, &level->stat, &level->reclaimable, &level->limit))
            return 0;
        guard.level_count++;
    }
    return 1;
}

/* Reads what walk() and walk_here() were given. */
static int parse_order(PyObject *args, Order *order)
{
    Py_ssize_t key_length;
    PyObject *levels;
    memset(order, 0, sizeof *order);
    if (!PyArg_ParseTuple(args, "(iipiKp)(O!O!O!O!O!)(sss)sy#p(LO!IL)", &order->output, &run.status, &order->is_dump,
                          &order->shown_chars, &order->limit, &order->may_shield, &PyList_Type, &order->modules, &PyList_Type, &order->threads,
                          &PyList_Type, &order->own, &PyList_Type, &order->maybe_own, &PyList_Type, &order->chunks,
                          &order->header.before, &order->header.between, &order->header.after, &order->dump_head, &order->key,
                          &key_length, &order->may_call_sizeof, &guard.keep, &PyList_Type, &levels, &deadline_seconds,
                          &guard.max_extra))
        return 0;
    if (key_length == sizeof mark_key)
        return parse_levels(levels);
    PyErr_Format(PyExc_ValueError, "cannot mark values: the key has %zd bytes, not 16", key_length);
    return 0;
}

static long long app_faults(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) ? 0 : used.ru_minflt;
}

PyDoc_STRVAR(walk_doc, "walk(output, lists, header, dump_head, key, may_call_sizeof, guard)\n\n"
                       "Clones the process; the child writes the heap, and what it cost to its status.\n"
                       "Returns the child's pid, to be waited for with __WALL, the milliseconds that the clone took, those of\n"
                       "them on a processor, and how many bytes of large payloads were left out of it.\n"
                       "The arguments are put together in walker.py.");

static PyObject *walk(PyObject *module, PyObject *args)
{
    Order order;
    (void)module;
    if (!parse_order(args, &order))
        return NULL;
    guard.parent = getpid();
    guard.faults = app_faults();
    guard.next_look = guard.max_extra;
    run.in_app = 0;
    order.has_sites = traced.armed;
    traced.armed = 0;
    double began = milliseconds(), own_began = own_milliseconds();
    sigset_t signals;
    int shielded = order.may_shield && open_shield(&signals);
    if (order.has_sites)
        hold_traces();
    long pid = syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L);
    int fault = errno;
    if (pid == 0)
        live_as_child(&order, shielded);
    if (order.has_sites)
        release_traces();
    if (shielded)
        close_shield(&signals);
    double millis = milliseconds() - began, own_millis = own_milliseconds() - own_began;
    errno = fault;
    if (pid < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("lddK", pid, millis, own_millis, shielded ? (unsigned long long)shield.bytes : 0ull);
}

PyDoc_STRVAR(faults_doc, "faults() -> int\n\nThe page faults of this process so far; one for each page that it writes after a clone.");

static PyObject *faults(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromLongLong(app_faults());
}

PyDoc_STRVAR(hold_doc, "hold(status, millis)\n\nKeeps the GIL, so that no Python thread writes, for `millis` or until `status` is readable.");

static PyObject *hold(PyObject *module, PyObject *args)
{
    struct pollfd status = {-1, POLLIN, 0};
    int millis;
    (void)module;
    if (!PyArg_ParseTuple(args, "ii", &status.fd, &millis))
        return NULL;
    (void)poll(&status, 1, millis);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(find_payloads_doc, "find_payloads(with_text) -> (int, int)\n\nLooks for large payloads, str objects too, that the next walk may leave out of\n"
                                "its clone; their bytes, and the process's bytes in huge pages.\n"
                                "Takes about 10 ms a GB, and nobody waits for it.");

static PyObject *find_payloads_of_app(PyObject *module, PyObject *with_text)
{
    uint64_t bytes = 0;
    (void)module;
    shield.with_text = PyObject_IsTrue(with_text) == 1;
    Py_BEGIN_ALLOW_THREADS
    find_all_payloads();
    Py_END_ALLOW_THREADS
    for (int i = 0; i < shield.count; i++)
        bytes += shield.spans[i].size;
    return Py_BuildValue("KK", (unsigned long long)bytes, (unsigned long long)shield.huge);
}

static PyObject *list_of_numbers(const List *list)
{
    PyObject *numbers = PyList_New((Py_ssize_t)list->count);
    for (size_t i = 0; numbers && i < list->count; i++)
        PyList_SET_ITEM(numbers, (Py_ssize_t)i, PyLong_FromUnsignedLongLong(list->items[i]));
    return numbers;
}

static PyObject *findings_here(const Order *order, double limit)
{
    double began = milliseconds();
    guard.deadline = own_milliseconds() + limit;
    if (setjmp(run.back)) {
        PyErr_SetString(PyExc_RuntimeError, run.why);
        return NULL;
    }
    Findings found = walk_heap(order);
    return Py_BuildValue("IKKNd", found.objects, (unsigned long long)found.size, (unsigned long long)found.heap_bytes,
                         list_of_numbers(&found.chunks), milliseconds() - began);
}

PyDoc_STRVAR(walk_here_doc, "walk_here(limit, ...)\n\nAs walk, in the app itself: everything waits until it is over, at most `limit` ms.\n"
                            "Returns objects, size_bytes, heap_bytes, chunks and the milliseconds; RuntimeError says why not.");

static PyObject *walk_here(PyObject *module, PyObject *args)
{
    Order order;
    (void)module;
    PyObject *limit = PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : NULL;
    if (limit == NULL || !PyFloat_Check(limit)) {
        PyErr_SetString(PyExc_TypeError, "cannot walk: the limit is a float of milliseconds");
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    if (rest == NULL || !parse_order(rest, &order)) {
        Py_XDECREF(rest);
        return NULL;
    }
    run.in_app = 1;
    PyObject *answer = findings_here(&order, PyFloat_AS_DOUBLE(limit));
    unmap_all();
    forget_walk();
    Py_DECREF(rest);
    return answer;
}

/* Whether a new object is found on the ring of links that the youngest list's head is on. */
static int lists_are_where_expected(PyObject *fresh)
{
    PyGC_Head *head = gc_list(NUM_GENERATIONS), *start = (PyGC_Head *)fresh - 1;
    for (PyGC_Head *at = gc_next(start); at && at != start; at = gc_next(at))
        if (at == head)
            return 1;
    return 0;
}

/* Whether what the interpreter says of its own layout (for debuggers, from 3.13 on) is what this was built for. */
static int offsets_are_as_expected(void)
{
#if AT_LEAST(13)
    const _Py_DebugOffsets *said = &_PyRuntime.debug_offsets;
    return said->interpreter_state.gc == offsetof(PyInterpreterState, gc) && said->gc.size == sizeof(struct _gc_runtime_state) &&
           said->interpreter_frame.size == sizeof(_PyInterpreterFrame) &&
           said->interpreter_frame.previous == offsetof(_PyInterpreterFrame, previous) &&
           said->interpreter_frame.localsplus == offsetof(_PyInterpreterFrame, localsplus) &&
           said->code_object.localsplusnames == offsetof(PyCodeObject, co_localsplusnames) &&
           said->type_object.tp_flags == offsetof(PyTypeObject, tp_flags);
#else
    return 1;
#endif
}

static int found_locals;

static void count_local(PyObject *name, PyObject *value, int is_cell)
{
    (void)is_cell;
    found_locals += PyUnicode_CheckExact(name) && PyUnicode_CompareWithASCIIString(name, "probe") == 0 && value != NULL;
}

PyDoc_STRVAR(check_doc, "check(instance, frame) -> bool\n\nWhether the interpreter's layout is the one this was built for:\n"
                        "`instance` is a new object whose attribute `probe` is None, `frame` has a local `probe`.");

static PyObject *check(PyObject *module, PyObject *args)
{
    PyObject *instance, *object;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &instance, &PyFrame_Type, &object))
        return NULL;
    PyTypeObject *type = Py_TYPE(instance);
    if (!offsets_are_as_expected() || !lists_are_where_expected(instance) || type->tp_traverse != subtype_traverse)
        Py_RETURN_FALSE;
    Attributes own = attributes_of(instance, type);
    int named = own.dict && PyDict_GetItemString(own.dict, "probe") == Py_None;
#if AT_LEAST(11)
    for (Py_ssize_t i = 0; i < own.count; i++)
        named |= own.values[i] == Py_None && PyUnicode_CompareWithASCIIString(shared_key(type, i), "probe") == 0;
#endif
    found_locals = 0;
    Frame *frame = frame_of_object((PyFrameObject *)object);
    if (frame_is_real(frame))
        frame_locals(frame, count_local);
    return PyBool_FromLong(named && found_locals == 1);
}

PyDoc_STRVAR(use_sites_doc, "use_sites(probe, filename, line) -> bool\n\nLets the next walk() say where objects were allocated.\n"
                            "`probe` is a new object that tracemalloc says was made there; False: its table is not found.");

static PyObject *use_sites(PyObject *module, PyObject *args)
{
    PyObject *probe, *filename;
    unsigned int line;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!I", &probe, &PyUnicode_Type, &filename, &line))
        return NULL;
    traced.armed = sites_can_be_read(probe, filename, line);
    return PyBool_FromLong(traced.armed);
}

static PyMethodDef methods[] = {{"walk", walk, METH_VARARGS, walk_doc},
                                {"walk_here", walk_here, METH_VARARGS, walk_here_doc},
                                {"faults", faults, METH_NOARGS, faults_doc},
                                {"hold", hold, METH_VARARGS, hold_doc},
                                {"find_payloads", find_payloads_of_app, METH_O, find_payloads_doc},
                                {"use_sites", use_sites, METH_VARARGS, use_sites_doc},
                                {"check", check, METH_VARARGS, check_doc},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "memwatch_hook._walker", NULL, -1, methods, NULL, NULL, NULL, NULL};

/* The traverse that the interpreter gives to classes made in Python. */
static int learn_types(void)
{
    PyObject *cls = PyObject_CallFunction((PyObject *)&PyType_Type, "s(){}", "probe");
    if (cls == NULL)
        return -1;
    subtype_traverse = ((PyTypeObject *)cls)->tp_traverse;
    Py_DECREF(cls);
    PyObject *collections = PyImport_ImportModule("_collections");
    PyObject *deque = collections ? PyObject_GetAttrString(collections, "deque") : NULL;
    Py_XDECREF(collections);
    deque_type = (PyTypeObject *)deque; /* kept */
    sizeof_name = PyUnicode_InternFromString("__sizeof__");
    return deque && sizeof_name ? 0 : -1;
}

PyMODINIT_FUNC PyInit__walker(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || watch_forks() || learn_types() < 0 || PyModule_AddIntConstant(module, "BUILT_FOR", PY_VERSION_HEX) < 0 ||
        PyModule_AddIntConstant(module, "ORDER", ORDER_VERSION) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
