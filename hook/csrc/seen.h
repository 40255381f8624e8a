/* Objects by address: one bit for 16 bytes, in chunks of 1 MiB; the seen ones are numbered by address. No object is
   smaller than 16 bytes, so none shares a bit; few (static ones) start in the middle of 16 and have the flag ODD. */
#ifndef MEMWATCH_SEEN_H
#define MEMWATCH_SEEN_H

#include "pages.h"

enum { CHUNK_SHIFT = 20, PLACE_SHIFT = 4, PLACES = 1 << (CHUNK_SHIFT - PLACE_SHIFT), WORDS = PLACES / 64 };
enum { TOP_BITS = 14, LOW_BITS = 13 }; /* 47 bits of address = 14 + 13 + 20 */

typedef enum { ODD, SPECIAL, NAMESPACE, HELD, FLAGS } Flag;

typedef struct {
    uint64_t seen[WORDS];
    uint16_t before[WORDS]; /* seen objects of the chunk at lower addresses: set by number_objects */
    uint64_t *flags[FLAGS]; /* each made when its first bit is set */
    uint32_t first;         /* the number of the chunk's first object */
    uint32_t id_base;
} Chunk;

STATE Chunk ***chunk_table; /* by the address's top bits, then its low bits: make_chunk_table makes it */

static void make_chunk_table(void)
{
    chunk_table = map_pages(sizeof *chunk_table << TOP_BITS);
}

static Chunk *make_chunk(uintptr_t address)
{
    Chunk ***top = &chunk_table[(address >> (CHUNK_SHIFT + LOW_BITS)) & ((1 << TOP_BITS) - 1)];
    if (*top == NULL)
        *top = take(sizeof(Chunk *) << LOW_BITS);
    Chunk **low = &(*top)[(address >> CHUNK_SHIFT) & ((1 << LOW_BITS) - 1)];
    if (*low == NULL)
        *low = take(sizeof(Chunk));
    return *low;
}

static inline Chunk *chunk_of(const void *thing)
{
    uintptr_t address = (uintptr_t)thing;
    Chunk **low = chunk_table[(address >> (CHUNK_SHIFT + LOW_BITS)) & ((1 << TOP_BITS) - 1)];
    return low ? low[(address >> CHUNK_SHIFT) & ((1 << LOW_BITS) - 1)] : NULL;
}

static inline uint32_t place_of(const void *thing)
{
    return ((uintptr_t)thing >> PLACE_SHIFT) & (PLACES - 1);
}

static inline int bit_of(const uint64_t *bits, const void *thing)
{
    uint32_t place = place_of(thing);
    return bits[place / 64] >> (place % 64) & 1;
}

static inline int has_flag(const void *thing, Flag flag)
{
    const Chunk *chunk = chunk_of(thing);
    return chunk && chunk->flags[flag] && bit_of(chunk->flags[flag], thing);
}

/* Sets a flag; whether it was not set before. */
static int set_flag(const void *thing, Flag flag)
{
    Chunk *chunk = chunk_of(thing);
    if (chunk == NULL)
        chunk = make_chunk((uintptr_t)thing);
    if (chunk->flags[flag] == NULL)
        chunk->flags[flag] = take(WORDS * sizeof(uint64_t));
    uint32_t place = place_of(thing);
    uint64_t bit = (uint64_t)1 << (place % 64), *word = &chunk->flags[flag][place / 64];
    int is_new = !(*word & bit);
    *word |= bit;
    return is_new;
}

static inline int is_seen(const void *thing)
{
    const Chunk *chunk = chunk_of(thing);
    return chunk && bit_of(chunk->seen, thing);
}

/* Takes note of an object; whether it was not seen before. */
static inline int see(const void *thing)
{
    Chunk *chunk = chunk_of(thing);
    if (__builtin_expect(chunk == NULL, 0))
        chunk = make_chunk((uintptr_t)thing);
    uint32_t place = place_of(thing);
    uint64_t bit = (uint64_t)1 << (place % 64), *word = &chunk->seen[place / 64];
    if (*word & bit)
        return 0;
    *word |= bit;
    if (__builtin_expect((uintptr_t)thing & 8, 0))
        set_flag(thing, ODD);
    return 1;
}

static void unsee(const void *thing)
{
    uint32_t place = place_of(thing);
    chunk_of(thing)->seen[place / 64] &= ~((uint64_t)1 << (place % 64));
}

/* The bits of a word, counted without an instruction that older processors lack. */
static inline uint32_t count_bits(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555ull;
    word = (word & 0x3333333333333333ull) + (word >> 2 & 0x3333333333333333ull);
    return (uint32_t)(((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full) * 0x0101010101010101ull >> 56);
}

typedef void (*ChunkFn)(Chunk *chunk, uintptr_t start);

/* Calls for every chunk in which objects were seen, lowest first. */
static void each_chunk(ChunkFn call)
{
    for (uintptr_t top = 0; top < 1 << TOP_BITS; top++)
        for (uintptr_t low = 0; chunk_table[top] && low < 1 << LOW_BITS; low++)
            if (chunk_table[top][low])
                call(chunk_table[top][low], (top << LOW_BITS | low) << CHUNK_SHIFT);
}

STATE uint32_t next_number;

static void number_chunk(Chunk *chunk, uintptr_t start)
{
    uint32_t here = 0;
    (void)start;
    chunk->first = next_number;
    for (uint32_t word = 0; word < WORDS; word++) {
        if (chunk->seen[word] == 0)
            continue; /* nobody asks there: leaves its page of `before` untouched where all are empty */
        chunk->before[word] = (uint16_t)here;
        here += count_bits(chunk->seen[word]);
    }
    next_number += here;
}

/* Numbers the seen objects by address, from `first`; returns how many there are. */
static uint32_t number_objects(uint32_t first)
{
    next_number = first;
    each_chunk(number_chunk);
    return next_number - first;
}

enum { NO_NUMBER = UINT32_MAX };

/* The number of an object, NO_NUMBER where it was not seen. */
static inline uint32_t number_of(const void *thing)
{
    const Chunk *chunk = chunk_of(thing);
    uint32_t place = place_of(thing);
    if (chunk == NULL || !(chunk->seen[place / 64] >> (place % 64) & 1))
        return (uint32_t)NO_NUMBER;
    uint64_t below = chunk->seen[place / 64] & (((uint64_t)1 << (place % 64)) - 1);
    return chunk->first + chunk->before[place / 64] + count_bits(below);
}

static inline void *object_at(const Chunk *chunk, uintptr_t start, uint32_t place)
{
    uintptr_t odd = chunk->flags[ODD] ? chunk->flags[ODD][place / 64] >> (place % 64) & 1 : 0;
    return (void *)(start + ((uintptr_t)place << PLACE_SHIFT) + 8 * odd);
}

#endif
