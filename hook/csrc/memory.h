/* What the walk remembers: an arena on mmap (the child must not call malloc: another thread of the app may have
   held its lock), maps by address, and a bitmap of the objects seen, which also numbers them. */
#ifndef MEMWATCH_MEMORY_H
#define MEMWATCH_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXIT_NO_MEMORY = 65 };
#define ARENA_STEP ((size_t)8 << 20) /* address space taken at once; pages count when they are written */

static struct {
    uint8_t *at;
    size_t left;
} arena;

/* Zeroed pages; ends the child where there are none. */
static void *map_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        _exit(EXIT_NO_MEMORY);
    return pages;
}

/* Zeroed memory that is never given back: the child ends soon. */
static void *take(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > ARENA_STEP / 4)
        return map_pages(size);
    if (size > arena.left) {
        arena.at = map_pages(ARENA_STEP);
        arena.left = ARENA_STEP;
    }
    void *found = arena.at;
    arena.at += size;
    arena.left -= size;
    return found;
}

/* ---- A growing list of addresses, which also serves as a stack. ---- */

typedef struct {
    void **items;
    size_t count, room;
} List;

static void list_add(List *list, void *item)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 4096;
        void **items = map_pages(room * sizeof *items);
        if (list->room) {
            memcpy(items, list->items, list->count * sizeof *items);
            munmap(list->items, list->room * sizeof *items);
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
}

static void list_free(List *list)
{
    if (list->room)
        munmap(list->items, list->room * sizeof *list->items);
    *list = (List){NULL, 0, 0};
}

/* ---- A map from addresses to numbers: open addressing, never more than half full. ---- */

typedef struct {
    const void *key;
    uint64_t value;
} Slot;

typedef struct {
    Slot *slots;
    size_t count, room; /* room: a power of two */
} Map;

static size_t map_place(const Map *map, const void *key)
{
    size_t place = ((uintptr_t)key * 0x9E3779B97F4A7C15ull) >> 20;
    for (;; place++) {
        const void *there = map->slots[place & (map->room - 1)].key;
        if (there == key || there == NULL)
            return place & (map->room - 1);
    }
}

static void map_grow(Map *map)
{
    Map larger = {NULL, map->count, map->room ? 2 * map->room : 1024};
    larger.slots = map_pages(larger.room * sizeof(Slot));
    for (size_t i = 0; i < map->room; i++)
        if (map->slots[i].key)
            larger.slots[map_place(&larger, map->slots[i].key)] = map->slots[i];
    if (map->room)
        munmap(map->slots, map->room * sizeof(Slot));
    *map = larger;
}

/* The slot of a key, which is made if it is new (its value is then 0). */
static Slot *map_slot(Map *map, const void *key)
{
    if (2 * (map->count + 1) > map->room)
        map_grow(map);
    Slot *slot = &map->slots[map_place(map, key)];
    if (slot->key == NULL) {
        slot->key = key;
        map->count++;
    }
    return slot;
}

/* The slot of a key, or NULL. */
static Slot *map_find(const Map *map, const void *key)
{
    if (map->room == 0)
        return NULL;
    Slot *slot = &map->slots[map_place(map, key)];
    return slot->key ? slot : NULL;
}

/* ---- Objects by address: flags, one bit for 16 bytes, in chunks of 1 MiB. No object is smaller than 16 bytes,
   so none shares a bit; few (static ones) start in the middle of 16 and have the flag ODD. ---- */

enum { CHUNK_SHIFT = 20, PLACE_SHIFT = 4, PLACES = 1 << (CHUNK_SHIFT - PLACE_SHIFT), WORDS = PLACES / 64 };
enum { TOP_BITS = 14, LOW_BITS = 13 }; /* 47 bits of address = 14 + 13 + 20 */
enum { BLOCK_WORDS = 8, BLOCKS = WORDS / BLOCK_WORDS };

typedef enum { SEEN, ODD, SPECIAL, NAMESPACE, HELD, FLAGS } Flag;

typedef struct {
    uint64_t *flags[FLAGS];  /* each made when its first bit is set */
    uint32_t before[BLOCKS]; /* seen objects at lower addresses, by block: set by number_objects */
    uint32_t id_base;
} Chunk;

static Chunk **chunk_table[1 << TOP_BITS];

static Chunk *chunk_of(uintptr_t address, int make)
{
    Chunk ***top = &chunk_table[(address >> (CHUNK_SHIFT + LOW_BITS)) & ((1 << TOP_BITS) - 1)];
    if (*top == NULL) {
        if (!make)
            return NULL;
        *top = take(sizeof(Chunk *) << LOW_BITS);
    }
    Chunk **low = &(*top)[(address >> CHUNK_SHIFT) & ((1 << LOW_BITS) - 1)];
    if (*low == NULL && make)
        *low = take(sizeof(Chunk));
    return *low;
}

static int flag_is_set(const void *thing, Flag flag)
{
    uintptr_t address = (uintptr_t)thing;
    const Chunk *chunk = chunk_of(address, 0);
    if (chunk == NULL || chunk->flags[flag] == NULL)
        return 0;
    uint32_t place = (address >> PLACE_SHIFT) & (PLACES - 1);
    return chunk->flags[flag][place / 64] >> (place % 64) & 1;
}

/* Sets a flag; whether it was not set before. */
static int flag_set(const void *thing, Flag flag)
{
    uintptr_t address = (uintptr_t)thing;
    Chunk *chunk = chunk_of(address, 1);
    if (chunk->flags[flag] == NULL)
        chunk->flags[flag] = take(WORDS * sizeof(uint64_t));
    uint32_t place = (address >> PLACE_SHIFT) & (PLACES - 1);
    uint64_t bit = (uint64_t)1 << (place % 64), *word = &chunk->flags[flag][place / 64];
    if (*word & bit)
        return 0;
    *word |= bit;
    if (flag == SEEN && address & 8)
        flag_set(thing, ODD);
    return 1;
}

/* Numbers the seen objects by address, from `first`; returns how many there are. */
static uint32_t number_objects(uint32_t first)
{
    uint32_t next = first;
    for (size_t top = 0; top < 1 << TOP_BITS; top++)
        for (size_t low = 0; chunk_table[top] && low < 1 << LOW_BITS; low++) {
            Chunk *chunk = chunk_table[top][low];
            if (chunk == NULL || chunk->flags[SEEN] == NULL)
                continue;
            for (size_t word = 0; word < WORDS; word++) {
                if (word % BLOCK_WORDS == 0)
                    chunk->before[word / BLOCK_WORDS] = next;
                next += __builtin_popcountll(chunk->flags[SEEN][word]);
            }
        }
    return next - first;
}

/* The number of a seen object. */
static uint32_t number_of(const void *thing)
{
    uintptr_t address = (uintptr_t)thing;
    const Chunk *chunk = chunk_of(address, 0);
    uint32_t place = (address >> PLACE_SHIFT) & (PLACES - 1), word = place / 64;
    uint32_t number = chunk->before[word / BLOCK_WORDS];
    for (uint32_t i = word & ~(BLOCK_WORDS - 1u); i < word; i++)
        number += __builtin_popcountll(chunk->flags[SEEN][i]);
    return number + __builtin_popcountll(chunk->flags[SEEN][word] & (((uint64_t)1 << (place % 64)) - 1));
}

typedef void (*ObjectFn)(void *thing, const Chunk *chunk);

/* Calls for every seen object, in the order of their numbers. */
static void each_object(ObjectFn call)
{
    for (uintptr_t top = 0; top < 1 << TOP_BITS; top++)
        for (uintptr_t low = 0; chunk_table[top] && low < 1 << LOW_BITS; low++) {
            const Chunk *chunk = chunk_table[top][low];
            if (chunk == NULL || chunk->flags[SEEN] == NULL)
                continue;
            uintptr_t start = (top << LOW_BITS | low) << CHUNK_SHIFT;
            for (uintptr_t word = 0; word < WORDS; word++)
                for (uint64_t bits = chunk->flags[SEEN][word]; bits; bits &= bits - 1) {
                    uintptr_t place = word * 64 + __builtin_ctzll(bits);
                    uintptr_t odd = chunk->flags[ODD] ? chunk->flags[ODD][word] >> (place % 64) & 1 : 0;
                    call((void *)(start + (place << PLACE_SHIFT) + 8 * odd), chunk);
                }
        }
}

#endif
