/* Writing a heap dump in one pass over what was found, in the order of addresses: docs/formats/heap-dump.md. */
#ifndef MEMWATCH_DUMP_H
#define MEMWATCH_DUMP_H

#include "find.h"
#include "marks.h"
#include "naming.h"
#include "sites.h"
#include "spool.h"

enum { OWN_NAME = 1, OWN_SIZE = 2, NO_EDGES = 4, HAS_MARK = 8 };
enum { LIST_LAYOUT, SEQUENCE_LAYOUT, FIRST_LAYOUT };
enum { SLOTS = 64, FAR_AWAY = 2048, MAX_GAP = 3 };
enum { MAX_LAYOUTS = 1 << 13, MAX_LAYOUT_LABELS = 64 }; /* what we look for: half a megabyte */
enum { MAX_CLASSES = (1 << 20) - 16 };
enum { MAX_ROW = 4096 }; /* edges of one object that are kept; beyond it they are read twice */
enum { MAX_OWN_NAMES = 1 << 12 };

typedef struct {
    uint64_t hash;
    uint32_t number, count; /* number 0: an empty place */
    Label *labels;
} Layout;

STATE struct {
    uint32_t node, next_node; /* that is written; the one after the last with edges */
    uint32_t class_count, layout_count, last_id;
    uint64_t edges, heap_bytes;
    int shown_chars; /* of each str */
    uint32_t overflow_classes[NODE_SYNTHETIC + 1];
    uint32_t slots[SLOTS];
    Layout *layouts;
    uint32_t count; /* of the object's edges; the first MAX_ROW are in the two lists */
    Label *labels;
    uint32_t *targets;
    uint32_t before; /* the target before */
    struct {
        const void *key[2];
        uint32_t number;
    } own_names[MAX_OWN_NAMES];
} dump;

/* ---- Nodes. ---- */

static void put_string(const char *text, size_t length)
{
    put_number(&spool.strings, length);
    put_bytes(&spool.strings, text, length);
}

static uint32_t describe_class(int type, uint32_t flags, uint32_t name)
{
    uint32_t number = dump.class_count++;
    put_number(&spool.nodes, number);
    put_number(&spool.nodes, (uint64_t)type);
    put_number(&spool.nodes, flags);
    put_number(&spool.nodes, name);
    put_number(&spool.nodes, 0);
    return number;
}

static uint32_t class_flags(const TypeInfo *info)
{
    PyTypeObject *type = info->type;
    int is_marked = type == &PyUnicode_Type || type == &PyBytes_Type || type == &PyLong_Type || type == &PyFloat_Type ||
                    type == &PyComplex_Type;
    int is_named = info->kind == CODE || info->is_function || (type == &PyUnicode_Type && dump.shown_chars);
    return OWN_SIZE | (is_named ? OWN_NAME : 0) | (info->kind == ATOM ? NO_EDGES : 0) | (is_marked ? HAS_MARK : 0);
}

/* Writes which class a node has, and what the class is where it is a new one; the class's flags. */
static inline uint32_t put_class(TypeInfo *info)
{
    if (info->number) {
        put_number(&spool.nodes, info->number - 1);
        return info->flags;
    }
    info->flags = class_flags(info);
    if (dump.class_count < MAX_CLASSES) {
        info->number = 1 + describe_class(info->node_type, info->flags, info->flags & OWN_NAME ? 0 : info->name);
        return info->flags;
    }
    uint32_t *shared = &dump.overflow_classes[info->node_type];
    if (*shared)
        put_number(&spool.nodes, *shared - 1);
    else
        *shared = 1 + describe_class(info->node_type, OWN_NAME | OWN_SIZE, 0);
    info->flags = 0; /* to be looked at again: it has no number */
    return OWN_NAME | OWN_SIZE;
}

/* The name of a function or a code object: texts of the same strings are written once, mostly. */
static uint32_t own_name_number(PyObject *thing, TypeInfo *info)
{
    char text[MAX_OWN_NAME];
    const void *key[2] = {thing, NULL};
    if (info->is_function) {
        key[0] = ((PyFunctionObject *)thing)->func_qualname;
        key[1] = ((PyFunctionObject *)thing)->func_module;
    } else if (info->type == &PyUnicode_Type) {
        return number_name(text, text_of(thing, text, dump.shown_chars));
    } else if (info->kind != CODE) {
        return info->name;
    }
    size_t place = ((uintptr_t)key[0] >> 4 ^ (uintptr_t)key[1] >> 10) % MAX_OWN_NAMES;
    if (dump.own_names[place].key[0] != key[0] || dump.own_names[place].key[1] != key[1]) {
        dump.own_names[place].key[0] = key[0];
        dump.own_names[place].key[1] = key[1];
        dump.own_names[place].number = number_name(text, own_name(thing, info, text));
    }
    return dump.own_names[place].number;
}

static inline void put_id(uint32_t id)
{
    put_number(&spool.nodes, zigzag((int64_t)id - (int64_t)dump.last_id));
    dump.last_id = id;
}

static inline void put_node(PyObject *thing, TypeInfo *info, uint32_t id)
{
    uint32_t flags = put_class(info);
    if (flags & OWN_NAME)
        put_number(&spool.nodes, own_name_number(thing, info));
    put_id(id);
    uint64_t size = size_of(thing, info);
    dump.heap_bytes += size;
    put_number(&spool.nodes, size);
    if (!(flags & NO_EDGES))
        put_number(&spool.nodes, dump.count);
    if (flags & HAS_MARK) {
        uint32_t mark = mark_of(thing);
        put_bytes(&spool.nodes, (uint8_t[]){(uint8_t)mark, (uint8_t)(mark >> 8), (uint8_t)(mark >> 16), (uint8_t)(mark >> 24)}, 4);
    }
}

/* ---- Edges. ---- */

/* The number of the node that an object is, NO_NUMBER where it is none. */
static inline uint32_t node_of(PyObject *thing)
{
    uint32_t number = number_of(thing);
    if (__builtin_expect(number != NO_NUMBER, 1))
        return number;
    const Slot *special = has_flag(thing, SPECIAL) ? map_find(&specials, thing) : NULL;
    return special ? (uint32_t)special->value : (uint32_t)NO_NUMBER;
}

ALWAYS_INLINE void keep_edge(Label label, PyObject *to)
{
    uint32_t number = node_of(to);
    if (number == NO_NUMBER)
        return;
    if (dump.count < MAX_ROW) {
        dump.labels[dump.count] = label;
        dump.targets[dump.count] = number;
    }
    dump.count++;
}

static inline void put_target(uint32_t target)
{
    int64_t difference = (int64_t)target - (int64_t)dump.before;
    if (difference >= FAR_AWAY || difference <= -FAR_AWAY) {
        uint32_t *slot = &dump.slots[target % SLOTS];
        if (*slot == target + 1) {
            put_number(&spool.edges, 2 * (target % SLOTS) + 1);
            return;
        }
        *slot = target + 1;
    }
    put_number(&spool.edges, 2 * zigzag(difference));
    dump.before = target;
}

static inline void begin_record(uint32_t layout)
{
    uint32_t gap = dump.node - dump.next_node;
    put_number(&spool.edges, 4 * (uint64_t)layout + (gap < MAX_GAP ? gap : MAX_GAP));
    if (gap >= MAX_GAP)
        put_number(&spool.edges, gap - MAX_GAP);
    dump.next_node = dump.node + 1;
    dump.before = dump.node;
}

static inline int is_sequence(void)
{
    if (dump.labels[0] != element(0) || dump.labels[dump.count - 1] != element(dump.count - 1))
        return 0;
    for (uint32_t i = 1; i + 1 < dump.count; i++)
        if (dump.labels[i] != element(i))
            return 0;
    return 1;
}

static inline uint64_t hash_labels(void)
{
    uint64_t hash = dump.count;
    for (uint32_t i = 0; i < dump.count; i++)
        hash = (hash ^ dump.labels[i]) * 0x9E3779B97F4A7C15ull;
    return hash ^ hash >> 32;
}

static inline int is_layout(const Layout *layout, uint64_t hash)
{
    return layout->hash == hash && layout->count == dump.count &&
           memcmp(layout->labels, dump.labels, dump.count * sizeof(Label)) == 0;
}

/* The place of the labels' layout in the table, where it is or where it belongs. */
static inline Layout *find_layout(uint64_t hash)
{
    for (uint64_t place = hash;; place++) {
        Layout *layout = &dump.layouts[place & (2 * MAX_LAYOUTS - 1)];
        if (layout->number == 0 || is_layout(layout, hash))
            return layout;
    }
}

static void describe_layout(Layout *layout, uint64_t hash)
{
    *layout = (Layout){hash, FIRST_LAYOUT + dump.layout_count++, dump.count, take(dump.count * sizeof(Label))};
    memcpy(layout->labels, dump.labels, dump.count * sizeof(Label));
    begin_record(layout->number);
    put_number(&spool.edges, dump.count);
    for (uint32_t i = 0; i < dump.count; i++)
        put_number(&spool.edges, dump.labels[i]);
}

/* Begins the record of a node whose labels are kept; whether each target needs its label. */
static inline int put_labels(void)
{
    if (is_sequence()) {
        begin_record(SEQUENCE_LAYOUT);
        put_number(&spool.edges, dump.count);
        return 0;
    }
    if (dump.count <= MAX_LAYOUT_LABELS) {
        uint64_t hash = hash_labels();
        Layout *layout = find_layout(hash);
        if (layout->number) {
            begin_record(layout->number);
            return 0;
        }
        if (dump.layout_count < MAX_LAYOUTS) {
            describe_layout(layout, hash);
            return 0;
        }
    }
    begin_record(LIST_LAYOUT);
    put_number(&spool.edges, dump.count);
    return 1;
}

static void put_kept_edges(void)
{
    int labelled = put_labels();
    for (uint32_t i = 0; i < dump.count; i++) {
        if (labelled)
            put_number(&spool.edges, dump.labels[i]);
        put_target(dump.targets[i]);
    }
}

static void put_edge(Label label, PyObject *to)
{
    uint32_t number = node_of(to);
    if (number == NO_NUMBER)
        return;
    put_number(&spool.edges, label);
    put_target(number);
}

static void put_item(Label label, PyObject *to)
{
    uint32_t number = node_of(to);
    (void)label;
    if (number != NO_NUMBER)
        put_target(number);
}

/* The edges of an object that has more than were kept: they are read a second time. */
static void put_many_edges(PyObject *thing, TypeInfo *info)
{
    int is_whole = (info->kind == LIST || info->kind == TUPLE) && dump.count == Py_SIZE(thing) &&
                   dump.labels[MAX_ROW - 1] == element(MAX_ROW - 1);
    EdgeFn call = is_whole ? put_item : put_edge;
    begin_record(is_whole ? SEQUENCE_LAYOUT : LIST_LAYOUT);
    put_number(&spool.edges, dump.count);
    on_edge = call;
    edges_of(thing, info, call);
    on_edge = keep_edge;
}

static inline void put_object(PyObject *thing, uint32_t id)
{
    TypeInfo *info = type_info(Py_TYPE(thing));
    dump.count = 0;
    edges_of(thing, info, keep_edge);
    put_node(thing, info, id);
    dump.edges += dump.count;
    if (dump.count > MAX_ROW)
        put_many_edges(thing, info);
    else if (dump.count)
        put_kept_edges();
    if (sites.wanted)
        put_site(thing, dump.node);
    if (++dump.node % TICK == 0)
        tick();
}

static void put_chunk(Chunk *chunk, uintptr_t start)
{
    for (uint32_t word = 0; word < WORDS; word++)
        for (uint64_t bits = chunk->seen[word]; bits; bits &= bits - 1) {
            uint32_t place = word * 64 + (uint32_t)__builtin_ctzll(bits);
            put_object(object_at(chunk, start, place), chunk->id_base + place);
        }
}

/* ---- The whole. ---- */

static void put_synthetic(void)
{
    uint32_t class = 0;
    for (uint32_t i = 0; i < synthetic_count; i++, dump.node++) {
        const Synthetic *node = &synthetic[i];
        if (i == 0)
            class = describe_class(NODE_SYNTHETIC, OWN_NAME | OWN_SIZE, 0);
        else
            put_number(&spool.nodes, class);
        put_number(&spool.nodes, node->name);
        put_id(i + 1);
        put_number(&spool.nodes, node->size);
        put_number(&spool.nodes, node->edge_count);
        dump.edges += node->edge_count;
        if (node->edge_count == 0)
            continue;
        begin_record(LIST_LAYOUT);
        put_number(&spool.edges, node->edge_count);
        for (const RootEdge *root = node->first; root; root = root->next) {
            put_number(&spool.edges, root->label);
            put_target(root->to ? node_of(root->to) : root->ordinal);
        }
    }
}

/* To be called before anything gets a name. */
static void begin_dump(int file, uint64_t limit, const char *head, int shown_chars)
{
    begin_spool(file, limit, head, sites.wanted ? SITES_VERSION : DUMP_VERSION);
    names.on_new = put_string;
    dump.shown_chars = shown_chars;
    dump.layouts = map_pages(2 * MAX_LAYOUTS * sizeof(Layout));
    dump.labels = map_pages(MAX_ROW * sizeof *dump.labels);
    dump.targets = map_pages(MAX_ROW * sizeof *dump.targets);
}

static void write_dump(uint32_t objects)
{
    char facts[MAX_JSON];
    put_synthetic();
    on_edge = keep_edge;
    each_chunk(put_chunk);
    uint64_t size = dump.heap_bytes;
    for (uint32_t i = 0; i < synthetic_count; i++)
        size += synthetic[i].size;
    int length = snprintf(facts, sizeof facts, "{\"nodes\":%u,\"edges\":%llu,\"strings\":%u,\"objects\":%u,\"self_size_bytes\":%llu",
                          dump.node, (unsigned long long)dump.edges, names.numbers, objects, (unsigned long long)size);
    if (sites.wanted)
        length += snprintf(facts + length, sizeof facts - (size_t)length, ",\"allocations\":%u,\"sites_left_out\":%u",
                           sites.allocations, sites.left_out);
    snprintf(facts + length, sizeof facts - (size_t)length, "}");
    end_spool(facts);
}

#endif
