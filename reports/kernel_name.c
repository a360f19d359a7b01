/* kernel_name: a traced kernel's name short enough for a table. No demangler: identifiers and whole
 * numbers of the template are read, types are left out; what is not understood stays as it is. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "reports/profile_data.h"

/* <length><identifier> of the Itanium ABI: its characters, and *c behind it. NULL where there is
 * none. */
static const char *read_identifier(const char **c, size_t *length)
{
    char *end;
    if (!isdigit((unsigned char)**c))
        return NULL;
    unsigned long n = strtoul(*c, &end, 10);
    if (n == 0 || n > strlen(end))
        return NULL;
    *c = end + n;
    *length = n;
    return end;
}

/* "L<type><digits>E", as in Li128E: a whole number. Leaves *c where it is no such thing. */
static bool read_literal(const char **c, sq_text *out, const char *comma)
{
    const char *digits = *c + 2;
    if (**c != 'L' || !islower((unsigned char)(*c)[1]))
        return false;
    bool is_negative = *digits == 'n';
    digits += is_negative;
    size_t n = strspn(digits, "0123456789");
    if (!n || digits[n] != 'E')
        return false;
    sq_text_printf(out, "%s%s%.*s", comma, is_negative ? "-" : "", (int)n, digits);
    *c = digits + n + 1;
    return true;
}

/* The numbers among the arguments of a template, from its 'I' on. */
static void add_numbers(const char *c, sq_text *out)
{
    size_t length, before = out->length;
    int depth = 0;
    while (*c) {
        if (read_identifier(&c, &length) ||
            read_literal(&c, out, out->length == before ? "<" : ","))
            continue;
        depth += (*c == 'I' || *c == 'N') - (*c == 'E');
        c++;
        if (depth == 0)
            break;
    }
    if (out->length > before)
        sq_text_add(out, ">");
}

static bool add_mangled(const char *name, sq_text *out)
{
    const char *c = name + 2, *last = NULL, *found;
    size_t length = 0, n;
    bool is_nested = *c == 'N';
    c += is_nested;
    c += *c == 'L';
    while ((found = read_identifier(&c, &n))) {
        last = found;
        length = n;
        if (!is_nested)
            break;
    }
    if (!last)
        return false;
    sq_text_add_n(out, last, length);
    if (*c == 'I')
        add_numbers(c, out);
    return true;
}

/* "void ns::f<8>(int)": without result and parameters. */
static void add_plain(const char *name, sq_text *out)
{
    int depth = 0;
    name += strncmp(name, "void ", 5) ? 0 : 5;
    size_t end = 0;
    while (name[end] && (name[end] != '(' || depth > 0 || end == 0)) {
        depth += (name[end] == '<') - (name[end] == '>');
        end++;
    }
    sq_text_add_n(out, name, end);
}

void sq_kernel_short_name(const char *name, char *out, size_t size)
{
    sq_text text = {0};
    if (strncmp(name, "_Z", 2) != 0 || !add_mangled(name, &text))
        add_plain(name, &text);
    snprintf(out, size, "%s", text.data && text.length ? text.data : name);
    sq_text_free(&text);
}
