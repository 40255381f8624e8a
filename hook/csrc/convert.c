/* memwatch_hook._convert: a heap dump in, a `.heapsnapshot` out, both descriptors. The twin is _convert_py.py.

   Three passes over the file: nodes, edges (with the nodes again, so that every count is checked), strings; with allocation
   sites two more, for the sites and for the marks. What is kept are the tables of classes, layouts and sites, which the
   format limits, and a buffer for each stream. For any CPython from 3.9 on. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03090000
#endif
#include <Python.h>

#include "convert_sites.h"

enum { ORDER_VERSION = 2 }; /* of the arguments of convert(): as ORDER in convert.py, which may be of another build */

/* ---- Text. ---- */

enum { NODE_WIDTH = 7, OUT_ROOM = 256 << 10, LONGEST_ROW = 160 };

static struct {
    int file;
    size_t used;
    uint64_t written;
    char bytes[OUT_ROOM];
} out;

static void flush(void)
{
    for (size_t done = 0; done < out.used;) {
        ssize_t wrote = write(out.file, out.bytes + done, out.used - done);
        if (wrote < 0 && errno != EINTR)
            longjmp(give_up, CANNOT_WRITE);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    out.written += out.used;
    out.used = 0;
}

static inline void make_room(size_t count)
{
    if (OUT_ROOM - out.used < count)
        flush();
}

static void put_text(const char *text, size_t length)
{
    while (length) {
        make_room(1);
        size_t count = length < OUT_ROOM - out.used ? length : OUT_ROOM - out.used;
        memcpy(out.bytes + out.used, text, count);
        out.used += count;
        text += count;
        length -= count;
    }
}

static char pairs[200]; /* "00" to "99" */

static void make_pairs(void)
{
    for (int i = 0; i < 100; i++) {
        pairs[2 * i] = (char)('0' + i / 10);
        pairs[2 * i + 1] = (char)('0' + i % 10);
    }
}

/* A number and a byte behind it; there must be room for both. */
static inline void put_number(uint64_t value, char behind)
{
    char digits[24], *at = digits + sizeof digits;
    *--at = behind;
    while (value >= 100) {
        memcpy(at -= 2, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10)
        memcpy(at -= 2, pairs + 2 * value, 2);
    else
        *--at = (char)('0' + value);
    size_t length = (size_t)(digits + sizeof digits - at);
    memcpy(out.bytes + out.used, at, length);
    out.used += length;
}

static int is_first;

static inline void begin_row(void)
{
    make_room(LONGEST_ROW);
    if (is_first)
        is_first = 0;
    else
        out.bytes[out.used++] = ',';
}

/* A row's last number. */
static inline void put_last(uint64_t value)
{
    put_number(value, 0);
    out.used--;
}

/* ---- Nodes. ---- */

typedef struct {
    int dump;
    uint64_t start, end; /* of the blocks between the first and the last */
    uint64_t nodes, edges, strings;
    const char *head[4]; /* the text around the three counts */
    int has_sites;       /* the version may have them */
} Plan;

typedef struct {
    uint64_t edges, objects, self_size, allocations;
} Sums;

static Nodes nodes_of(const Plan *plan)
{
    return open_nodes(plan->dump, plan->start, plan->end, plan->nodes, plan->strings);
}

static void write_nodes(const Plan *plan, Sums *sums)
{
    Nodes nodes = nodes_of(plan);
    Allocations sites;
    if (sums->allocations)
        sites = open_allocations(plan->dump, plan->start, plan->end, plan->nodes, plan->strings, 0);
    is_first = 1;
    while (nodes.left) {
        uint64_t number_of_node = plan->nodes - nodes.left;
        Node node = next_node(&nodes);
        if (node.edges > plan->edges - sums->edges)
            fail("its nodes have more edges than the %llu that its end tells of", (unsigned long long)plan->edges);
        sums->edges += node.edges;
        sums->objects += node.type != SYNTHETIC;
        sums->self_size += node.size;
        begin_row();
        put_number(node.type, ',');
        put_number(node.name, ',');
        put_number(node.id, ',');
        put_number(node.size, ',');
        put_number(node.edges, ',');
        put_number(sums->allocations ? trace_of(&sites, number_of_node, node.size) : node.mark, ',');
        put_last(0);
    }
    check_all_read(&nodes.stream);
}

/* The marks of all nodes, where allocation sites have taken their field. */
static void write_marks(const Plan *plan)
{
    Nodes nodes = nodes_of(plan);
    is_first = 1;
    while (nodes.left) {
        begin_row();
        put_last(next_node(&nodes).mark);
    }
}

/* ---- Edges. ---- */

static inline void put_edge(uint64_t label, uint64_t to)
{
    begin_row();
    put_number(label & 7, ',');
    put_number(label >> LABEL_SHIFT, ',');
    put_last(to * NODE_WIDTH);
}

/* The node of the next record: those it leaves out have no edges. */
static Node node_of_record(Nodes *nodes, Edges *edges, uint64_t *which)
{
    uint64_t head = number(&edges->stream), gap = head & 3;
    if (gap == 3)
        gap += number_below(&edges->stream, (uint64_t)1 << 32, "a gap");
    for (; gap; gap--)
        if (next_node(nodes).edges)
            fail("a node has edges in stream N and none in stream E");
    *which = head >> 2;
    return next_node(nodes);
}

static void write_record(Nodes *nodes, Edges *edges, uint64_t total)
{
    uint64_t which;
    Node node = node_of_record(nodes, edges, &which);
    uint64_t before = total - nodes->left - 1; /* the node's own number */
    const Layout *known = which >= FIRST_LAYOUT ? layout(edges, which) : NULL;
    uint64_t count = known ? known->count : number(&edges->stream);
    if (count != node.edges || count == 0)
        fail("a node has %llu edges in stream N and %llu in stream E", (unsigned long long)node.edges, (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t name = known ? known->labels[i] : which == LIST ? label(edges) : i << LABEL_SHIFT | ELEMENT;
        put_edge(name, target(edges, &before));
    }
}

static void write_edges(const Plan *plan)
{
    Nodes nodes = nodes_of(plan);
    Edges edges = open_edges(plan->dump, plan->start, plan->end, plan->nodes, plan->strings);
    is_first = 1;
    for (;;) {
        if (edges.stream.pos == edges.stream.have)
            fill(&edges.stream);
        if (edges.stream.pos == edges.stream.have)
            break;
        write_record(&nodes, &edges, plan->nodes);
    }
    while (nodes.left)
        if (next_node(&nodes).edges)
            fail("a node has edges in stream N and none in stream E");
}

/* ---- Allocation sites. ---- */

static void write_functions(void)
{
    is_first = 1;
    for (size_t i = 0; i < tree.function_count; i++) {
        const Function *function = &tree.functions[i];
        begin_row();
        put_number(i, ',');
        put_number(function->name, ',');
        put_number(function->file, ','); /* its script */
        put_number(function->file, ','); /* and the script's number */
        put_number(function->line, ',');
        put_last(0);
    }
}

static void write_trace(uint32_t at)
{
    const Trace *trace = &tree.traces[at];
    make_room(LONGEST_ROW);
    put_number((uint64_t)at + 1, ',');
    put_number(trace->function, ',');
    put_number(trace->count, ',');
    put_number(trace->size, ',');
    put_text("[", 1);
}

/* A node's children stand in its brackets, one behind the other. */
static void write_traces(void)
{
    uint32_t callers[MAX_SITE_FRAMES + 1], depth = 0;
    write_trace(0);
    for (uint32_t at = 0;;) {
        uint32_t down = tree.traces[at].first;
        if (down) {
            callers[depth++] = at;
            write_trace(at = down);
            continue;
        }
        put_text("]", 1);
        while (depth && tree.traces[at].next == 0) {
            at = callers[--depth];
            put_text("]", 1);
        }
        if (depth == 0)
            return;
        put_text(",", 1);
        write_trace(at = tree.traces[at].next);
    }
}

/* ---- Strings. ---- */

/* How many bytes of valid UTF-8 a character takes; 0 where it is none. */
static int character(const uint8_t *at, size_t left)
{
    int count = at[0] < 0x80 ? 1 : at[0] >= 0xC2 && at[0] < 0xE0 ? 2 : at[0] >= 0xE0 && at[0] < 0xF0 ? 3 : at[0] >= 0xF0 && at[0] < 0xF5 ? 4 : 0;
    if (count == 0 || (size_t)count > left)
        return 0;
    for (int i = 1; i < count; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    int too_long = (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90);
    int no_character = (at[0] == 0xED && at[1] >= 0xA0) || (at[0] == 0xF4 && at[1] >= 0x90);
    return too_long || no_character ? 0 : count;
}

static void put_byte(uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    if (byte < 0x20)
        put_text(text, sizeof text);
    else if (byte == '"' || byte == '\\')
        put_text((char[]){'\\', (char)byte}, 2);
    else
        put_text((char *)&byte, 1);
}

static void write_string(Stream *s, uint64_t which)
{
    size_t length = (size_t)number_below(s, MAX_STRING + 1, "a string's length");
    if (which == 0 && length)
        fail("string 0 is not empty");
    need(s, length);
    put_text(which ? ",\"" : "\"", which ? 2 : 1);
    for (size_t i = 0; i < length;) {
        const uint8_t *at = s->buffer + s->pos + i;
        int count = character(at, length - i);
        if (count == 0)
            fail("string %llu is no UTF-8", (unsigned long long)which);
        if (count == 1)
            put_byte(*at);
        else
            put_text((const char *)at, (size_t)count);
        i += (size_t)count;
    }
    s->pos += length;
    put_text("\"", 1);
}

static void write_strings(const Plan *plan)
{
    Stream strings = open_stream(plan->dump, 'S', plan->start, plan->end);
    for (uint64_t i = 0; i < plan->strings; i++)
        write_string(&strings, i);
    check_all_read(&strings);
}

/* ---- All of it. ---- */

static void put_literal(const char *text)
{
    put_text(text, strlen(text));
}

static void put_count(uint64_t count)
{
    make_room(LONGEST_ROW);
    put_last(count);
}

static void write_tail(const Plan *plan, const Sums *sums)
{
    put_literal("],\"trace_function_infos\":[");
    if (sums->allocations)
        write_functions();
    put_literal("],\"trace_tree\":[");
    if (sums->allocations)
        write_traces();
    put_literal("],\"samples\":[],\"locations\":[");
    if (sums->allocations) {
        put_literal("],\"value_marks\":[");
        write_marks(plan);
    }
    put_literal("],\"strings\":[");
    write_strings(plan);
    put_literal("]}");
}

static void write_all(const Plan *plan, Sums *sums)
{
    if (plan->has_sites)
        sums->allocations = learn_sites(plan->dump, plan->start, plan->end, plan->nodes, plan->strings);
    put_literal(plan->head[0]);
    put_count(plan->nodes);
    put_literal(plan->head[1]);
    put_count(plan->edges);
    put_literal(plan->head[2]);
    put_count(sums->allocations ? tree.function_count : 0);
    put_literal(plan->head[3]);
    write_nodes(plan, sums);
    if (sums->edges != plan->edges)
        fail("its nodes have %llu edges, its end tells of %llu", (unsigned long long)sums->edges, (unsigned long long)plan->edges);
    put_literal("],\"edges\":[");
    write_edges(plan);
    write_tail(plan, sums);
    flush();
}

PyDoc_STRVAR(convert_doc, "convert(dump, out, start, end, nodes, edges, strings, has_sites, header)\n"
                          "-> (objects, self_size, written, allocations)\n\n"
                          "Converts the blocks from `start` to `end` of the file `dump`; both are descriptors. `has_sites`: a\n"
                          "dump of version 2, `allocations` is how many nodes have one.\n"
                          "Raises ValueError where they contradict themselves or the counts, OSError where `out` takes no more.");

static PyObject *convert(PyObject *module, PyObject *args)
{
    static Plan plan; /* static: what lies on the stack is not certain after a longjmp */
    static Sums sums;
    unsigned long long numbers[5];
    (void)module;
    if (!PyArg_ParseTuple(args, "iiKKKKKp(ssss)", &plan.dump, &out.file, &numbers[0], &numbers[1], &numbers[2], &numbers[3],
                          &numbers[4], &plan.has_sites, &plan.head[0], &plan.head[1], &plan.head[2], &plan.head[3]))
        return NULL;
    plan.start = numbers[0];
    plan.end = numbers[1];
    plan.nodes = numbers[2];
    plan.edges = numbers[3];
    plan.strings = numbers[4];
    sums = (Sums){0, 0, 0, 0};
    out.used = 0;
    out.written = 0;
    make_pairs();
    int problem = setjmp(give_up), cause = errno;
    if (problem == 0)
        write_all(&plan, &sums);
    release_all();
    errno = cause;
    switch (problem) {
    case 0:
        return Py_BuildValue("KKKK", (unsigned long long)sums.objects, (unsigned long long)sums.self_size, (unsigned long long)out.written,
                             (unsigned long long)sums.allocations);
    case WRONG:
        PyErr_SetString(PyExc_ValueError, problem_text);
        return NULL;
    case NO_MEMORY:
        return PyErr_NoMemory();
    default:
        return PyErr_SetFromErrno(PyExc_OSError);
    }
}

static PyMethodDef methods[] = {{"convert", convert, METH_VARARGS, convert_doc}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "memwatch_hook._convert", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__convert(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "ORDER", ORDER_VERSION) < 0)
        Py_CLEAR(module);
    return module;
}
