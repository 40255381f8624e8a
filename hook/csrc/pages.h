/* The walk's own memory: pages from mmap only. The child must not call malloc, for another thread of the app may have
   held its lock; a walk in the app itself gives all of it back. */
#ifndef MEMWATCH_PAGES_H
#define MEMWATCH_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "run.h"

#define ARENA_STEP ((size_t)8 << 20) /* address space taken at once; pages count when they are written */
enum { MAX_REGIONS = 2048 };         /* 16 GiB of arenas: no walk of ours takes so much */

STATE struct {
    uint8_t *at;
    size_t left;
} arena;

STATE struct {
    void *start;
    size_t size;
} regions[MAX_REGIONS]; /* what was mapped and not yet given back */
STATE uint32_t region_count;

/* Zeroed pages; ends the walk where there are none. */
static void *map_pages(size_t size)
{
    if (region_count == MAX_REGIONS)
        give_up("the walk has run out of memory");
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        give_up("the walk has run out of memory");
    regions[region_count].start = pages;
    regions[region_count++].size = size;
    return pages;
}

static void unmap_pages(void *start)
{
    for (uint32_t i = region_count; i-- > 0;)
        if (regions[i].start == start) {
            munmap(start, regions[i].size);
            regions[i] = regions[--region_count];
            return;
        }
}

static void unmap_all(void)
{
    while (region_count) {
        region_count--;
        munmap(regions[region_count].start, regions[region_count].size);
    }
}

/* Zeroed memory for the rest of the walk. */
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

/* ---- A growing list of words, which also serves as a stack. ---- */

typedef struct {
    uintptr_t *items;
    size_t count, room;
} List;

static void list_grow(List *list)
{
    size_t room = list->room ? 2 * list->room : 4096;
    uintptr_t *items = map_pages(room * sizeof *items);
    if (list->room) {
        memcpy(items, list->items, list->count * sizeof *items);
        unmap_pages(list->items);
    }
    list->items = items;
    list->room = room;
}

static inline void list_add(List *list, uintptr_t item)
{
    if (list->count == list->room)
        list_grow(list);
    list->items[list->count++] = item;
}

static void list_free(List *list)
{
    if (list->room)
        unmap_pages(list->items);
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

static inline size_t map_place(const Map *map, const void *key)
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
    Map larger = {NULL, map->count, map->room ? 2 * map->room : 256};
    larger.slots = map_pages(larger.room * sizeof(Slot));
    for (size_t i = 0; i < map->room; i++)
        if (map->slots[i].key)
            larger.slots[map_place(&larger, map->slots[i].key)] = map->slots[i];
    if (map->room)
        unmap_pages(map->slots);
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
static inline Slot *map_find(const Map *map, const void *key)
{
    if (map->room == 0)
        return NULL;
    Slot *slot = &map->slots[map_place(map, key)];
    return slot->key ? slot : NULL;
}

static void map_free(Map *map)
{
    if (map->room)
        unmap_pages(map->slots);
    *map = (Map){NULL, 0, 0};
}

#endif
