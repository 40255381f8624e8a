/* The file of a heap dump: blocks of three streams (docs/formats/heap-dump.md). */
#ifndef MEMWATCH_SPOOL_H
#define MEMWATCH_SPOOL_H

#include <sys/uio.h>

#include "pages.h"

enum { BLOCK_BYTES = 64 << 10, MAX_NUMBER_BYTES = 10, BLOCK_HEAD_BYTES = 5 };
enum { DUMP_VERSION = 1, SITES_VERSION = 2, MAX_JSON = 512 };

typedef struct {
    uint8_t *bytes;
    uint32_t used;
    char kind;
} Stream;

STATE struct {
    int file;
    uint64_t size, limit;
    Stream strings, nodes, edges, allocations;
} spool;

static void spool_put(struct iovec *pieces, int count)
{
    for (int i = 0; i < count; i++)
        spool.size += pieces[i].iov_len;
    if (spool.size > spool.limit)
        give_up("the dump has grown past %llu bytes, all it may take", (unsigned long long)spool.limit);
    while (count) {
        ssize_t written = writev(spool.file, pieces, count);
        if (written < 0 && errno != EINTR)
            give_up("cannot write the dump: error %d", errno);
        for (; written > 0 && count && (size_t)written >= pieces->iov_len; pieces++, count--)
            written -= (ssize_t)pieces->iov_len;
        if (written > 0) {
            pieces->iov_base = (char *)pieces->iov_base + written;
            pieces->iov_len -= (size_t)written;
        }
    }
}

static void put_block(char kind, const void *payload, uint32_t length)
{
    uint8_t head[BLOCK_HEAD_BYTES] = {(uint8_t)kind, (uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16),
                                      (uint8_t)(length >> 24)};
    struct iovec pieces[2] = {{head, sizeof head}, {(void *)payload, length}};
    spool_put(pieces, 2);
}

static void flush_stream(Stream *stream)
{
    if (stream->used)
        put_block(stream->kind, stream->bytes, stream->used);
    stream->used = 0;
}

static inline void put_number(Stream *stream, uint64_t number)
{
    if (__builtin_expect(stream->used > BLOCK_BYTES - MAX_NUMBER_BYTES, 0))
        flush_stream(stream);
    uint8_t *at = stream->bytes + stream->used;
    for (; number >= 0x80; number >>= 7)
        *at++ = (uint8_t)number | 0x80;
    *at++ = (uint8_t)number;
    stream->used = (uint32_t)(at - stream->bytes);
}

static void put_bytes(Stream *stream, const void *bytes, size_t count)
{
    for (const char *at = bytes; count;) {
        if (stream->used == BLOCK_BYTES)
            flush_stream(stream);
        size_t piece = BLOCK_BYTES - stream->used < count ? BLOCK_BYTES - stream->used : count;
        memcpy(stream->bytes + stream->used, at, piece);
        stream->used += (uint32_t)piece;
        at += piece;
        count -= piece;
    }
}

static inline uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static void open_stream(Stream *stream, char kind)
{
    stream->bytes = map_pages(BLOCK_BYTES);
    stream->kind = kind;
}

static void begin_spool(int file, uint64_t limit, const char *head, uint8_t version)
{
    uint8_t magic[] = {'M', 'W', 'H', 'E', 'A', 'P', '\r', '\n', version};
    struct iovec piece = {magic, sizeof magic};
    spool.file = file;
    spool.limit = limit;
    open_stream(&spool.strings, 'S');
    open_stream(&spool.nodes, 'N');
    open_stream(&spool.edges, 'E');
    open_stream(&spool.allocations, 'A');
    spool_put(&piece, 1);
    put_block('H', head, (uint32_t)strlen(head));
}

static void end_spool(const char *facts)
{
    uint32_t length = (uint32_t)strlen(facts);
    uint8_t last[] = {(uint8_t)length, (uint8_t)(length >> 8), 0, 0, 'M', 'W', 'H', 'E'};
    struct iovec piece = {last, sizeof last};
    flush_stream(&spool.strings);
    flush_stream(&spool.nodes);
    flush_stream(&spool.edges);
    flush_stream(&spool.allocations);
    put_block('Z', facts, length);
    spool_put(&piece, 1);
}

#endif
