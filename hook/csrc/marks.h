/* Marks of plain values, as _marks.py explains them: 32 bits of a keyed hash (SipHash-1-3, as CPython's own; the key is the process's), so
   that a mark tells two values apart and tells nothing of either. */
#ifndef MEMWATCH_MARKS_H
#define MEMWATCH_MARKS_H

#include "layout.h"
#include "run.h"

enum { MAX_MARKED = 4096, BEGINNING = 64 }; /* bytes: longer ones are marked by their length and beginning */

STATE uint64_t mark_key[2];

static inline uint64_t turned(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = turned(v[1], 13) ^ v[0];
    v[0] = turned(v[0], 32);
    v[2] += v[3];
    v[3] = turned(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = turned(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = turned(v[1], 17) ^ v[2];
    v[2] = turned(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* The mark of some bytes and a number beside them (a length, a sign); never 0, which means none. */
static uint32_t mark_of_bytes(const void *bytes, size_t count, uint64_t beside)
{
    uint64_t v[4] = {mark_key[0] ^ 0x736f6d6570736575ull, mark_key[1] ^ 0x646f72616e646f6dull,
                     mark_key[0] ^ 0x6c7967656e657261ull, mark_key[1] ^ 0x7465646279746573ull};
    const uint8_t *at = bytes;
    size_t left = count > MAX_MARKED ? BEGINNING : count;
    sip_word(v, beside);
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        sip_word(v, word);
    }
    uint64_t last = (uint64_t)count << 56;
    memcpy(&last, at, left);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    uint32_t mark = (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
    return mark ? mark : 1;
}

static uint32_t mark_of_int(PyObject *number)
{
#if AT_LEAST(12)
    const _PyLongValue *value = &((PyLongObject *)number)->long_value;
    return mark_of_bytes(value->ob_digit, (value->lv_tag >> 3) * sizeof(digit), value->lv_tag & 3);
#else
    Py_ssize_t size = Py_SIZE(number);
    size_t digits = (size_t)(size < 0 ? -size : size);
    return mark_of_bytes(((PyLongObject *)number)->ob_digit, digits * sizeof(digit), size < 0);
#endif
}

/* The mark of a plain value; 0 for anything else. */
static uint32_t mark_of(PyObject *thing)
{
    PyTypeObject *type = Py_TYPE(thing);
    if (type == &PyLong_Type)
        return mark_of_int(thing);
    if (type == &PyFloat_Type)
        return mark_of_bytes(&((PyFloatObject *)thing)->ob_fval, sizeof(double), 0);
    if (type == &PyComplex_Type)
        return mark_of_bytes(&((PyComplexObject *)thing)->cval, sizeof(Py_complex), 0);
    if (type == &PyBytes_Type)
        return mark_of_bytes(PyBytes_AS_STRING(thing), (size_t)PyBytes_GET_SIZE(thing), (uint64_t)PyBytes_GET_SIZE(thing));
    if (type != &PyUnicode_Type)
        return 0;
#if !AT_LEAST(12)
    if (!PyUnicode_IS_READY(thing))
        return 0;
#endif
    size_t length = (size_t)PyUnicode_GET_LENGTH(thing);
    return mark_of_bytes(PyUnicode_DATA(thing), length * PyUnicode_KIND(thing), length);
}

#endif
