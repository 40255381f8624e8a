/* memwatch_hook._walker: walks the heap in a cloned child that writes no reference count.

   The clone is raw: no exit signal (the app's wait() and SIGCHLD never see it), no atfork handlers, and in the child no
   malloc, no Python code and no locks, since another thread of the app may have held any of them. */
#define _GNU_SOURCE
#include "walk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* ---- The child. ---- */

static void close_between(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0u) == 0)
        return;
    struct rlimit limit = {0, 4096};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
        close((int)fd);
}

static void close_others(void)
{
    unsigned low = (unsigned)(out.connection < out.status ? out.connection : out.status);
    unsigned high = (unsigned)(out.connection < out.status ? out.status : out.connection);
    int nowhere = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        if (fd != out.connection && fd != out.status)
            dup2(nowhere, fd);
    close_between(3, low - 1);
    close_between(low + 1, high - 1);
    close_between(high + 1, ~0u);
}

static void shed(unsigned deadline_seconds)
{
    struct rlimit no_core = {0, 0};
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, number == SIGPIPE ? SIG_IGN : SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a huge page for each of our small tables would be most of the cost */
    setrlimit(RLIMIT_CORE, &no_core);
    close_others();
    alarm(deadline_seconds);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int score = open("/proc/self/oom_score_adj", O_WRONLY);
    if (score >= 0) {
        (void)!write(score, "1000", 4);
        close(score);
    }
    setpriority(PRIO_PROCESS, 0, 10);
}

static long long private_dirty(void)
{
    static char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    text[length > 0 ? length : 0] = 0;
    const char *line = strstr(text, "Private_Dirty:");
    long long kilobytes = 0;
    for (const char *c = line ? line + 14 : ""; *c == ' ' || (*c >= '0' && *c <= '9'); c++)
        if (*c != ' ')
            kilobytes = 10 * kilobytes + (*c - '0');
    return line ? kilobytes * 1024 : -1;
}

static void report(uint32_t objects, const List *chunks)
{
    char text[512];
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double millis = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
                    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
    int length = snprintf(text, sizeof text,
                          "{\"objects\":%u,\"size_bytes\":%llu,\"cpu_millis\":%.3f,\"extra_memory_bytes\":%lld,\"chunks\":[",
                          objects, (unsigned long long)out.sent, millis, private_dirty());
    (void)!write(out.status, text, (size_t)length);
    for (size_t i = 0; i < chunks->count; i++) {
        length = snprintf(text, sizeof text, i ? ",%llu" : "%llu", (unsigned long long)(uintptr_t)chunks->items[i]);
        (void)!write(out.status, text, (size_t)length);
    }
    (void)!write(out.status, "]}\n", 3);
}

static void child(const Order *order, unsigned deadline_seconds)
{
    List chunks = {NULL, 0, 0};
    shed(deadline_seconds);
    memcpy(mark_key, order->key, sizeof mark_key);
    uint32_t objects = find_all(order);
    number_chunks(order->chunks, &chunks);
    write_all(order, objects);
    report(objects, &chunks);
    _exit(0);
}

/* ---- The app's side. ---- */

PyDoc_STRVAR(walk_doc, "walk(connection, status, modules, threads, own, maybe_own, chunks, header, key, deadline, sizeof)\n\n"
                       "Clones the process; the child writes the heap to `connection` and what it cost to `status`.\n"
                       "Returns the child's pid, to be waited for with __WALL, and the milliseconds that the clone took.");

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static PyObject *walk(PyObject *module, PyObject *args)
{
    Order order;
    unsigned deadline;
    Py_ssize_t key_length;
    (void)module;
    if (!PyArg_ParseTuple(args, "iiO!O!O!O!O!(sss)y#Ip", &out.connection, &out.status, &PyList_Type, &order.modules, &PyList_Type,
                          &order.threads, &PyList_Type, &order.own, &PyList_Type, &order.maybe_own, &PyList_Type, &order.chunks, &order.header[0],
                          &order.header[1], &order.header[2], &order.key, &key_length, &deadline, &may_call_sizeof))
        return NULL;
    if (key_length != sizeof mark_key)
        return PyErr_Format(PyExc_ValueError, "cannot mark values: the key has %zd bytes, not 16", key_length);
    out.parent = getpid();
    double began = milliseconds();
    long pid = syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L);
    if (pid == 0)
        child(&order, deadline);
    if (pid < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("ld", pid, milliseconds() - began);
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
    if (!lists_are_where_expected(instance) || type->tp_traverse != subtype_traverse)
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

static PyMethodDef methods[] = {{"walk", walk, METH_VARARGS, walk_doc}, {"check", check, METH_VARARGS, check_doc}, {NULL, NULL, 0, NULL}};

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
    if (module == NULL || learn_types() < 0 || PyModule_AddIntConstant(module, "BUILT_FOR", PY_VERSION_HEX) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
