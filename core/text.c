#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(sq_text *text, size_t extra)
{
    if (text->is_failed)
        return false;
    size_t need = text->length + extra + 1;
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *grown = (char *)realloc(text->data, capacity);
    if (!grown) {
        text->is_failed = true;
        return false;
    }
    text->data = grown;
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

void sq_text_add(sq_text *text, const char *string) { sq_text_add_n(text, string, strlen(string)); }

void sq_text_printf(sq_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        text->is_failed = true;
    else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void sq_text_free(sq_text *text)
{
    free(text->data);
    *text = (sq_text){.data = NULL};
}

/* Length of the well-formed UTF-8 sequence at s, or 0 where there is none. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool is_overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool is_outside = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return is_overlong || is_outside ? 0 : length;
}

/* Writes one escaped ASCII character, or returns false to have it copied. */
typedef bool (*escape_fn)(sq_text *text, unsigned char c);

/* Copies `string`, escaping ASCII by `escape`; a byte that is not UTF-8 becomes U+FFFD. */
static void add_escaped(sq_text *text, const char *string, escape_fn escape)
{
    const unsigned char *s = (const unsigned char *)string;
    while (*s) {
        size_t length = utf8_length(s);
        if (length == 0)
            sq_text_add(text, "\xef\xbf\xbd");
        else if (length > 1 || !escape(text, *s))
            sq_text_add_n(text, (const char *)s, length);
        s += length ? length : 1;
    }
}

static bool escape_html(sq_text *text, unsigned char c)
{
    switch (c) {
    case '&': sq_text_add(text, "&amp;"); return true;
    case '<': sq_text_add(text, "&lt;"); return true;
    case '>': sq_text_add(text, "&gt;"); return true;
    case '"': sq_text_add(text, "&quot;"); return true;
    case '\'': sq_text_add(text, "&#39;"); return true;
    case '\n':
    case '\t': return false;
    default: break;
    }
    if (c >= 0x20 && c != 0x7f)
        return false;
    sq_text_add(text, "\xef\xbf\xbd");
    return true;
}

static bool escape_json(sq_text *text, unsigned char c)
{
    if (c == '"' || c == '\\')
        sq_text_printf(text, "\\%c", c);
    else if (c == '\n')
        sq_text_add(text, "\\n");
    else if (c == '\t')
        sq_text_add(text, "\\t");
    else if (c < 0x20 || c == 0x7f)
        sq_text_printf(text, "\\u%04x", c);
    else
        return false;
    return true;
}

static bool escape_csv(sq_text *text, unsigned char c)
{
    if (c == '"')
        sq_text_add(text, "\"\"");
    else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
        sq_text_add(text, "\xef\xbf\xbd");
    else
        return false;
    return true;
}

void sq_text_add_html(sq_text *text, const char *string) { add_escaped(text, string, escape_html); }

void sq_text_add_json(sq_text *text, const char *string) { add_escaped(text, string, escape_json); }

void sq_text_add_csv(sq_text *text, const char *string)
{
    bool is_quoted = strpbrk(string, ",\"\r\n") != NULL;
    if (is_quoted)
        sq_text_add(text, "\"");
    add_escaped(text, string, escape_csv);
    if (is_quoted)
        sq_text_add(text, "\"");
}

enum { NEAREST_MAX = 64 };

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment distance, ignoring case; large for overlong names. */
static int edit_distance(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return 2 * NEAREST_MAX;
    int d[3][NEAREST_MAX + 1];
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = d[i % 3], *last = d[(i + 2) % 3], *before = d[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
    }
    return d[n % 3][m];
}

const char *sq_nearest(const char *name, const char *const *candidates)
{
    const char *best = NULL;
    int best_distance = 0;
    for (; *candidates; candidates++) {
        int distance = edit_distance(name, *candidates);
        if (!best || distance < best_distance) {
            best = *candidates;
            best_distance = distance;
        }
    }
    if (!best)
        return NULL;
    int longest = (int)(strlen(name) > strlen(best) ? strlen(name) : strlen(best));
    bool is_part = strlen(name) >= 3 && (strstr(best, name) || strstr(name, best));
    return is_part || best_distance <= 1 + longest / 3 ? best : NULL;
}

sq_status sq_fail_unknown(sq_error *err, const char *what, const char *name,
                          const char *const *candidates)
{
    char known[320] = "";
    size_t used = 0;
    for (int i = 0; candidates[i] && used < sizeof known - 40; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 candidates[i]);
    const char *nearest = sq_nearest(name, candidates);
    if (nearest)
        return sq_fail(err, SQ_BAD_ARGUMENT, "unknown %s \"%.60s\"; did you mean \"%s\"? Known: %s",
                       what, name, nearest, known);
    return sq_fail(err, SQ_BAD_ARGUMENT, "unknown %s \"%.60s\". Known: %s", what, name, known);
}

bool sq_parse_number(const char *text, double *out)
{
    if (!*text || isspace((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || errno == ERANGE || !isfinite(value))
        return false;
    switch (*end) {
    case 'k': case 'K': value *= 1024; end++; break;
    case 'm': case 'M': value *= 1048576; end++; break;
    case 'g': case 'G': value *= 1073741824; end++; break;
    default: break;
    }
    if (*end)
        return false;
    *out = value;
    return true;
}

bool sq_parse_duration(const char *text, double *seconds)
{
    static const struct { const char *suffix; double factor; } units[] = {
        {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"", 1}};
    if (!*text || isspace((unsigned char)*text))
        return false;
    char *end;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value) || value < 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].suffix) == 0) {
            *seconds = value * units[i].factor;
            return true;
        }
    }
    return false;
}

static void format_scaled(double value, double base, const char *const *units, char *out, size_t size)
{
    if (isnan(value)) {
        snprintf(out, size, "-");
        return;
    }
    int unit = 0;
    while (fabs(value) >= base && units[unit + 1]) {
        value /= base;
        unit++;
    }
    int digits = fabs(value) >= 100 || value == floor(value) ? 0 : fabs(value) >= 10 ? 1 : 2;
    snprintf(out, size, "%.*f %s", digits, value, units[unit]);
}

void sq_format_ns(double ns, char *out, size_t size)
{
    static const char *const units[] = {"ns", "us", "ms", "s", NULL};
    format_scaled(ns, 1000, units, out, size);
}

void sq_format_bytes(double bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", NULL};
    format_scaled(bytes, 1000, units, out, size);
}
