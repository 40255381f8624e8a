/* What an object is called in the snapshot: its class, or a name of its own. */
#ifndef MEMWATCH_NAMING_H
#define MEMWATCH_NAMING_H

#include "types.h"

enum { MAX_PATH_CHARS = 1024 };

static size_t name_of_code(PyCodeObject *code, char *text, size_t room)
{
    size_t at = text_of(code_name(code), text, MAX_NAME_CHARS);
    text[at++] = ' ';
    text[at++] = '(';
    at += text_of(code->co_filename, text + at, MAX_PATH_CHARS);
    return at + (size_t)snprintf(text + at, room - at, ":%d)", code->co_firstlineno);
}

static size_t name_of_function(PyFunctionObject *function, char *text)
{
    size_t at = 0;
    if (function->func_module && PyUnicode_CheckExact(function->func_module)) {
        at = text_of(function->func_module, text, MAX_NAME_CHARS);
        text[at++] = '.';
    }
    return at + text_of(function->func_qualname, text + at, MAX_NAME_CHARS);
}

enum { MAX_OWN_NAME = 8 * MAX_PATH_CHARS };

/* The own name of a code object or a function, in `text`, which has room for MAX_OWN_NAME; 0: it is called as its class. */
static size_t own_name(PyObject *thing, const TypeInfo *info, char *text)
{
    if (info->kind == CODE)
        return name_of_code((PyCodeObject *)thing, text, MAX_OWN_NAME);
    return info->is_function ? name_of_function((PyFunctionObject *)thing, text) : 0;
}

#endif
