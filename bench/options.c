/* options: see options.h. */
#include "bench/options.h"

#include <stdlib.h>
#include <string.h>

static const sq_option *find_long(const sq_option *table, const char *name, size_t length)
{
    for (const sq_option *o = table; o && o->name; o++)
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static const sq_option *find_letter(const sq_option *table, char letter)
{
    for (const sq_option *o = table; o && o->name; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

static int count_options(const sq_option *table)
{
    int n = 0;
    while (table && table[n].name)
        n++;
    return n;
}

static sq_status refuse(const sq_option *table, const sq_option *more, const char *name,
                        size_t length, sq_error *err)
{
    int a = count_options(table), b = count_options(more);
    const char **names = calloc((size_t)(a + b) + 1, sizeof *names);
    char wanted[64];
    length = length < sizeof wanted ? length : sizeof wanted - 1;
    memcpy(wanted, name, length);
    wanted[length] = 0;
    if (!names)
        return sq_fail(err, SQ_OUT_OF_MEMORY, "unknown option --%s", wanted);
    for (int i = 0; i < a; i++)
        names[i] = table[i].name;
    for (int i = 0; i < b; i++)
        names[a + i] = more[i].name;
    const char *near = sq_nearest(wanted, names);
    free(names);
    if (near)
        return sq_fail(err, SQ_BAD_ARGUMENT, "unknown option --%s; did you mean --%s?", wanted,
                       near);
    return sq_fail(err, SQ_BAD_ARGUMENT, "unknown option --%s; --help lists the known ones",
                   wanted);
}

/* Stores an option whose value is `inline_value`, or the next word of argv; *i moves on then. */
static sq_status give(sq_given *out, const sq_option *option, const char *inline_value, int argc,
                      char **argv, int *i, sq_error *err)
{
    const char *value = inline_value;
    if (!option->metavar && value)
        return sq_fail(err, SQ_BAD_ARGUMENT, "--%s takes no value", option->name);
    if (option->metavar && !value) {
        if (*i + 1 >= argc)
            return sq_fail(err, SQ_BAD_ARGUMENT, "--%s needs a value: %s", option->name,
                           option->metavar);
        value = argv[++*i];
    }
    if (out->count == SQ_MAX_GIVEN)
        return sq_fail(err, SQ_BAD_ARGUMENT, "more than %d options", SQ_MAX_GIVEN);
    out->option[out->count] = option;
    out->value[out->count++] = value ? value : "";
    return SQ_OK;
}

static sq_status parse_long(const sq_option *table, const sq_option *more, int argc, char **argv,
                            int *i, sq_given *out, sq_error *err)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const sq_option *option = find_long(table, name, length);
    if (!option)
        option = find_long(more, name, length);
    if (!option)
        return refuse(table, more, name, length, err);
    return give(out, option, equals ? equals + 1 : NULL, argc, argv, i, err);
}

static sq_status parse_short(const sq_option *table, int argc, char **argv, int *i, sq_given *out,
                             sq_error *err)
{
    const char *word = argv[*i];
    const sq_option *option = find_letter(table, word[1]);
    if (!option)
        return sq_fail(err, SQ_BAD_ARGUMENT, "unknown option -%c; --help lists the known ones",
                       word[1]);
    return give(out, option, word[2] ? word + 2 : NULL, argc, argv, i, err);
}

sq_status sq_options_parse(const sq_option *table, const sq_option *more, int argc, char **argv,
                           sq_given *out, sq_error *err)
{
    *out = (sq_given){.count = 0};
    bool is_over = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!is_over && strcmp(word, "--") == 0) {
            is_over = true;
        } else if (!is_over && strncmp(word, "--", 2) == 0) {
            SQ_TRY(parse_long(table, more, argc, argv, &i, out, err));
        } else if (!is_over && word[0] == '-' && word[1]) {
            SQ_TRY(parse_short(table, argc, argv, &i, out, err));
        } else if (out->n_arguments == SQ_MAX_GIVEN) {
            return sq_fail(err, SQ_BAD_ARGUMENT, "more than %d arguments", SQ_MAX_GIVEN);
        } else {
            out->argument[out->n_arguments++] = word;
        }
    }
    return SQ_OK;
}

const char *sq_given_value(const sq_given *given, const char *name, const char *fallback)
{
    for (int i = given->count - 1; i >= 0; i--)
        if (strcmp(given->option[i]->name, name) == 0)
            return given->value[i];
    return fallback;
}

bool sq_given_has(const sq_given *given, const char *name)
{
    return sq_given_value(given, name, NULL) != NULL;
}

/* --- help --- */

enum { HELP_INDENT = 28, HELP_WIDTH = 100 };

/* Adds `doc` from column HELP_INDENT on, broken at blanks. */
static void add_wrapped(sq_text *out, const char *doc)
{
    const size_t room = HELP_WIDTH - HELP_INDENT;
    while (strlen(doc) > room) {
        size_t cut = room;
        while (cut > 1 && doc[cut] != ' ')
            cut--;
        sq_text_add_n(out, doc, cut);
        sq_text_printf(out, "\n%*s", HELP_INDENT, "");
        doc += cut + (doc[cut] == ' ');
    }
    sq_text_printf(out, "%s\n", doc);
}

void sq_options_help(const sq_option *table, sq_text *out)
{
    for (const sq_option *o = table; o->name; o++) {
        size_t start = out->length;
        if (o->letter)
            sq_text_printf(out, "  -%c, --%s", o->letter, o->name);
        else
            sq_text_printf(out, "  --%s", o->name);
        if (o->metavar)
            sq_text_printf(out, " %s", o->metavar);
        size_t used = out->length - start;
        if (used + 2 > HELP_INDENT)
            sq_text_printf(out, "\n%*s", HELP_INDENT, "");
        else
            sq_text_printf(out, "%*s", (int)(HELP_INDENT - used), "");
        add_wrapped(out, o->doc);
    }
}
