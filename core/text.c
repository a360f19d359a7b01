#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- growing --- */

/* Room for `more` bytes and the final NUL. */
static bool reserve(sq_text *text, size_t more)
{
    if (text->is_failed)
        return false;
    if (text->data && more < text->capacity - text->length)
        return true;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity <= SIZE_MAX / 2 && capacity - text->length <= more)
        capacity *= 2;
    char *data = capacity - text->length > more ? realloc(text->data, capacity) : NULL;
    if (!data) {
        text->is_failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void sq_text_add_n(sq_text *text, const char *string, size_t length)
{
    if (!reserve(text, length))
        return;
    memcpy(text->data + text->length, string, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void sq_text_add(sq_text *text, const char *string)
{
    sq_text_add_n(text, string, strlen(string));
}

void sq_text_printf(sq_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0)
        text->is_failed = true;
    else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

void sq_text_free(sq_text *text)
{
    if (!text)
        return;
    free(text->data);
    *text = (sq_text){0};
}

/* --- escaping --- */

enum { REPLACEMENT = 0xfffd };

/* Decodes one code point at *at and moves past it; a byte that is no UTF-8 gives U+FFFD. The NUL at
 * the end is no continuation byte, so a cut sequence never reads beyond it. */
static uint32_t next_code_point(const char **at)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)*at;
    *at += 1;
    if (s[0] < 0x80)
        return s[0];
    int more = s[0] >= 0xf0 && s[0] < 0xf8 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc0 ? 1 : 0;
    if (more == 0 || s[0] >= 0xf8)
        return REPLACEMENT;
    uint32_t code = s[0] & (0x3fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return REPLACEMENT;
        code = code << 6 | (s[i] & 0x3fu);
    }
    if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return REPLACEMENT;
    *at += more;
    return code;
}

/* C0, DEL and C1. */
static bool is_control(uint32_t code) { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

static bool is_blank(uint32_t code) { return code == '\t' || code == '\n' || code == '\r'; }

/* What stands for `code` in the output, or NULL where its own bytes do. May use `room`. */
typedef const char *(*escape_fn)(uint32_t code, char room[8]);

static const char *escape_html(uint32_t code, char room[8])
{
    switch (code) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        break;
    }
    (void)room;
    if (code == '\r')
        return "&#13;"; /* raw, a parser would read a line feed */
    return is_control(code) && !is_blank(code) ? "\xef\xbf\xbd" : NULL;
}

static const char *escape_json(uint32_t code, char room[8])
{
    switch (code) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        break;
    }
    if (!is_control(code))
        return NULL;
    snprintf(room, 8, "\\u%04x", (unsigned)(code & 0xff));
    return room;
}

static const char *escape_csv(uint32_t code, char room[8])
{
    (void)room;
    if (code == '"')
        return "\"\"";
    return is_control(code) && !is_blank(code) ? "\xef\xbf\xbd" : NULL;
}

static const char *escape_plain(uint32_t code, char room[8])
{
    (void)room;
    if (is_blank(code))
        return " ";
    return is_control(code) ? "\xef\xbf\xbd" : NULL;
}

static const char *escape_md(uint32_t code, char room[8])
{
    if (code == '|')
        return "\\|";
    if (code == '\\')
        return "\\\\";
    if (code == '<')
        return "&lt;";
    return escape_plain(code, room);
}

static void add_escaped(sq_text *text, const char *string, escape_fn escape)
{
    char room[8];
    sq_text_add_n(text, "", 0); /* data is not NULL even after an empty string */
    while (*string) {
        const char *start = string;
        uint32_t code = next_code_point(&string);
        const char *escaped = escape(code, room);
        if (escaped)
            sq_text_add(text, escaped);
        else if (code == REPLACEMENT)
            sq_text_add(text, "\xef\xbf\xbd");
        else
            sq_text_add_n(text, start, (size_t)(string - start));
    }
}

void sq_text_add_html(sq_text *text, const char *string)
{
    add_escaped(text, string, escape_html);
}

void sq_text_add_json(sq_text *text, const char *string)
{
    add_escaped(text, string, escape_json);
}

void sq_text_add_plain(sq_text *text, const char *string)
{
    add_escaped(text, string, escape_plain);
}

void sq_text_add_md(sq_text *text, const char *string) { add_escaped(text, string, escape_md); }

void sq_text_add_csv(sq_text *text, const char *string)
{
    bool is_quoted = strpbrk(string, ",\"\r\n\t") != NULL;
    if (is_quoted)
        sq_text_add(text, "\"");
    add_escaped(text, string, escape_csv);
    if (is_quoted)
        sq_text_add(text, "\"");
}

void sq_text_add_shell(sq_text *text, const char *string)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_@%+=:,./-";
    if (*string && !string[strspn(string, plain)]) {
        sq_text_add(text, string);
        return;
    }
    sq_text_add(text, "'");
    for (; *string; string++)
        if (*string == '\'')
            sq_text_add(text, "'\\''");
        else
            sq_text_add_n(text, string, 1);
    sq_text_add(text, "'");
}

int sq_text_width(const char *string)
{
    int width = 0;
    for (; *string; width++)
        next_code_point(&string);
    return width;
}
