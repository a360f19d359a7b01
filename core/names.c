/* names: looking a name up, and saying which one was probably meant. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

enum { LONGEST = 96 };

static int min_of(int a, int b) { return a < b ? a : b; }

static int fold(char c) { return tolower((unsigned char)c); }

/* Optimal string alignment distance (Damerau 1964: insertion, deletion, substitution, swap of
 * neighbours), case folded. Both lengths are at most LONGEST. */
static int distance(const char *a, int n_a, const char *b, int n_b)
{
    int rows[3][LONGEST + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= n_b; j++)
        above[j] = j;
    for (int i = 1; i <= n_a; i++) {
        row[0] = i;
        for (int j = 1; j <= n_b; j++) {
            int change = fold(a[i - 1]) != fold(b[j - 1]);
            row[j] = min_of(above[j - 1] + change, min_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                row[j] = min_of(row[j], before[j - 2] + 1);
        }
        int *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[n_b];
}

/* "scan" for "selective_scan", "flash_attention" for "attention". */
static bool is_part(const char *name, const char *candidate)
{
    return strlen(name) >= 3 && strlen(candidate) >= 3 &&
           (strstr(candidate, name) || strstr(name, candidate));
}

/* Errors a name of this length may have: a third of it, at least one unless it is one letter. */
static int allowed_errors(int length) { return length < 2 ? 0 : length < 6 ? 1 : length / 3; }

const char *sq_nearest(const char *name, const char *const *candidates)
{
    size_t length = strlen(name);
    if (length == 0 || length > LONGEST)
        return NULL;
    const char *nearest = NULL;
    int best = LONGEST + 1;
    for (; *candidates; candidates++) {
        size_t other = strlen(*candidates);
        if (other > LONGEST)
            continue;
        int longer = (int)(length > other ? length : other);
        int errors = distance(name, (int)length, *candidates, (int)other);
        if (errors > allowed_errors(longer))
            errors = is_part(name, *candidates) ? LONGEST : LONGEST + 1; /* a typo comes first */
        if (errors < best) {
            best = errors;
            nearest = *candidates;
        }
    }
    return nearest;
}

/* "a, b, c", ended by "..." where it does not fit. */
static void join(const char *const *names, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; names[i]; i++) {
        const char *comma = i ? ", " : "";
        if (used + strlen(comma) + strlen(names[i]) + sizeof ", ..." > size) {
            snprintf(out + used, size - used, "%s...", comma);
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", comma, names[i]);
    }
}

sq_status sq_fail_unknown(sq_error *err, const char *what, const char *name,
                          const char *const *candidates)
{
    char known[240];
    join(candidates, known, sizeof known);
    const char *nearest = sq_nearest(name, candidates);
    if (!candidates[0])
        return sq_fail(err, SQ_BAD_ARGUMENT, "unknown %s \"%.64s\"; there is none", what, name);
    if (nearest)
        return sq_fail(err, SQ_BAD_ARGUMENT,
                       "unknown %s \"%.64s\"; did you mean \"%s\"? Known: %s", what, name, nearest,
                       known);
    return sq_fail(err, SQ_BAD_ARGUMENT, "unknown %s \"%.64s\". Known: %s", what, name, known);
}

sq_status sq_find_name(const char *what, const char *name, const char *const *names, int *index,
                       sq_error *err)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) {
            *index = i;
            return SQ_OK;
        }
    return sq_fail_unknown(err, what, name, names);
}
