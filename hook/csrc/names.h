/* The table of names: each text once, numbered; new ones go out as they come where the output wants that. */
#ifndef MEMWATCH_NAMES_H
#define MEMWATCH_NAMES_H

#include "layout.h"
#include "pages.h"

enum { MAX_NAME_CHARS = 200 };

typedef struct {
    const char *text;
    uint32_t length, number;
} Name;

typedef void (*NameFn)(const char *text, size_t length);

STATE struct {
    Name *items;
    uint32_t *index; /* by hash of the text; 0 is empty, else place in `items` + 1 */
    uint32_t count, room;
    uint32_t numbers; /* given so far, also to texts that are not kept */
    NameFn on_new;    /* called for each text as it gets its number; NULL: nobody wants it yet */
} names;

static uint64_t hash_text(const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3ull;
    return hash ^ hash >> 29;
}

static uint32_t *name_place(const char *text, size_t length)
{
    for (uint64_t place = hash_text(text, length);; place++) {
        uint32_t *entry = &names.index[place & (2 * (uint64_t)names.room - 1)];
        if (*entry == 0)
            return entry;
        const Name *name = &names.items[*entry - 1];
        if (name->length == length && memcmp(name->text, text, length) == 0)
            return entry;
    }
}

static void names_grow(void)
{
    uint32_t room = names.room ? 2 * names.room : 1 << 10;
    Name *items = map_pages(room * sizeof *items);
    if (names.room) {
        memcpy(items, names.items, names.count * sizeof *items);
        unmap_pages(names.items);
        unmap_pages(names.index);
    }
    names.items = items;
    names.room = room;
    names.index = map_pages(2 * (size_t)room * sizeof *names.index);
    for (uint32_t i = 0; i < names.count; i++)
        *name_place(items[i].text, items[i].length) = i + 1;
}

/* A number for a text that is not looked up again. */
static uint32_t number_name(const char *text, size_t length)
{
    if (names.on_new)
        names.on_new(text, length);
    return names.numbers++;
}

/* The number of a text, which is copied if it is new. */
static uint32_t name_number(const char *text, size_t length)
{
    if (names.count == names.room)
        names_grow();
    uint32_t *entry = name_place(text, length);
    if (*entry == 0) {
        char *copy = take(length ? length : 1);
        memcpy(copy, text, length);
        names.items[names.count] = (Name){copy, (uint32_t)length, number_name(text, length)};
        *entry = ++names.count;
    }
    return names.items[*entry - 1].number;
}

static uint32_t name_of_text(const char *text)
{
    return name_number(text, strlen(text));
}

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

#endif
