#include "core/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *text; /* NULL: a number */
    double number;
    int digits;
} field;

struct sq_table {
    char **columns;
    int n_columns;
    field *fields;
    int n_fields, capacity;
    bool is_failed;
};

sq_status sq_format_parse(const char *name, sq_format *out, sq_error *err)
{
    static const char *const names[] = {"table", "md", "csv", "json", "jsonl", NULL};
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (sq_format)i;
            return SQ_OK;
        }
    }
    return sq_fail_unknown(err, "output format", name, names);
}

sq_table *sq_table_new(const char *const *columns)
{
    sq_table *table = (sq_table *)calloc(1, sizeof *table);
    if (!table)
        return NULL;
    while (columns[table->n_columns])
        table->n_columns++;
    table->columns = (char **)calloc((size_t)table->n_columns + 1, sizeof *table->columns);
    for (int i = 0; table->columns && i < table->n_columns; i++)
        if (!(table->columns[i] = strdup(columns[i])))
            table->is_failed = true;
    if (!table->columns || table->is_failed) {
        sq_table_free(table);
        return NULL;
    }
    return table;
}

void sq_table_free(sq_table *table)
{
    if (!table)
        return;
    for (int i = 0; table->columns && i < table->n_columns; i++)
        free(table->columns[i]);
    for (int i = 0; i < table->n_fields; i++)
        free(table->fields[i].text);
    free(table->columns);
    free(table->fields);
    free(table);
}

static void add_field(sq_table *table, field f)
{
    if (table->n_fields == table->capacity) {
        int capacity = table->capacity ? 2 * table->capacity : 64;
        field *grown = (field *)realloc(table->fields, (size_t)capacity * sizeof *grown);
        if (!grown) {
            free(f.text);
            table->is_failed = true;
            return;
        }
        table->fields = grown;
        table->capacity = capacity;
    }
    table->fields[table->n_fields++] = f;
}

void sq_table_text(sq_table *table, const char *text)
{
    field f = {.text = strdup(text)};
    if (!f.text)
        table->is_failed = true;
    else
        add_field(table, f);
}

void sq_table_number(sq_table *table, double value, int digits)
{
    add_field(table, (field){.number = value, .digits = digits});
}

int sq_table_rows(const sq_table *table) { return table->n_fields / table->n_columns; }

/* Plain text of a number; integers up to 2^53 without exponent; empty for NaN. */
static void number_text(double value, int digits, char *out, size_t size)
{
    if (isnan(value))
        out[0] = '\0';
    else if (value == floor(value) && fabs(value) < 9e15)
        snprintf(out, size, "%.0f", value);
    else if (fabs(value) >= 1 && fabs(value) < 1e15 && digits < 16) {
        int before = (int)floor(log10(fabs(value))) + 1;
        snprintf(out, size, "%.*f", digits > before ? digits - before : 0, value);
    } else
        snprintf(out, size, "%.*g", digits, value);
}

static const char *shown(const field *f, char *buffer, size_t size)
{
    if (f->text)
        return f->text;
    number_text(f->number, f->digits, buffer, size);
    return buffer;
}

/* Characters (not bytes) of a UTF-8 text. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void pad(sq_text *out, int count)
{
    for (int i = 0; i < count; i++)
        sq_text_add(out, " ");
}

static void add_padded(sq_text *out, const char *text, int width, bool is_right, bool is_last)
{
    int missing = width - width_of(text);
    if (is_right)
        pad(out, missing);
    for (const char *c = text; *c; c++) /* one row is one line */
        sq_text_add_n(out, (unsigned char)*c < 0x20 ? " " : c, 1);
    if (!is_right && !is_last)
        pad(out, missing);
    sq_text_add(out, is_last ? "\n" : "  ");
}

static bool is_number_column(const sq_table *t, int column)
{
    for (int row = 0; row < sq_table_rows(t); row++)
        if (t->fields[row * t->n_columns + column].text)
            return false;
    return sq_table_rows(t) > 0;
}

static void render_aligned(const sq_table *t, sq_text *out)
{
    char buffer[64];
    int *width = (int *)calloc((size_t)t->n_columns + 1, sizeof *width);
    if (!width) {
        out->is_failed = true;
        return;
    }
    for (int c = 0; c < t->n_columns; c++) {
        width[c] = width_of(t->columns[c]);
        for (int r = 0; r < sq_table_rows(t); r++) {
            int w = width_of(shown(&t->fields[r * t->n_columns + c], buffer, sizeof buffer));
            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (int r = -1; r < sq_table_rows(t); r++)
        for (int c = 0; c < t->n_columns; c++)
            add_padded(out,
                       r < 0 ? t->columns[c]
                             : shown(&t->fields[r * t->n_columns + c], buffer, sizeof buffer),
                       width[c], is_number_column(t, c), c == t->n_columns - 1);
    free(width);
}

static void add_md(sq_text *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            sq_text_add(out, "\\|");
        else
            sq_text_add_n(out, (unsigned char)*text < 0x20 ? " " : text, 1);
    }
}

static void render_md(const sq_table *t, sq_text *out)
{
    char buffer[64];
    for (int c = 0; c < t->n_columns; c++) {
        sq_text_add(out, "| ");
        add_md(out, t->columns[c]);
        sq_text_add(out, " ");
    }
    sq_text_add(out, "|\n");
    for (int c = 0; c < t->n_columns; c++)
        sq_text_add(out, is_number_column(t, c) ? "|---:" : "|---");
    sq_text_add(out, "|\n");
    for (int r = 0; r < sq_table_rows(t); r++) {
        for (int c = 0; c < t->n_columns; c++) {
            sq_text_add(out, "| ");
            add_md(out, shown(&t->fields[r * t->n_columns + c], buffer, sizeof buffer));
            sq_text_add(out, " ");
        }
        sq_text_add(out, "|\n");
    }
}

static void render_csv(const sq_table *t, sq_text *out)
{
    char buffer[64];
    for (int r = -1; r < sq_table_rows(t); r++) {
        for (int c = 0; c < t->n_columns; c++) {
            if (r < 0)
                sq_text_add_csv(out, t->columns[c]);
            else {
                field f = t->fields[r * t->n_columns + c];
                f.digits = 17;
                sq_text_add_csv(out, shown(&f, buffer, sizeof buffer));
            }
            sq_text_add(out, c + 1 < t->n_columns ? "," : "\r\n");
        }
    }
}

static void add_json_field(sq_text *out, const char *column, const field *f)
{
    sq_text_add(out, "\"");
    sq_text_add_json(out, column);
    sq_text_add(out, "\": ");
    if (f->text) {
        sq_text_add(out, "\"");
        sq_text_add_json(out, f->text);
        sq_text_add(out, "\"");
    } else if (isfinite(f->number)) {
        char buffer[64];
        number_text(f->number, 17, buffer, sizeof buffer);
        sq_text_add(out, buffer);
    } else {
        sq_text_add(out, "null"); /* JSON has neither NaN nor infinity */
    }
}

static void render_json(const sq_table *t, bool is_lines, sq_text *out)
{
    if (!is_lines)
        sq_text_add(out, "[");
    for (int r = 0; r < sq_table_rows(t); r++) {
        sq_text_add(out, is_lines ? "{" : r ? ",\n {" : "\n {");
        for (int c = 0; c < t->n_columns; c++) {
            if (c)
                sq_text_add(out, ", ");
            add_json_field(out, t->columns[c], &t->fields[r * t->n_columns + c]);
        }
        sq_text_add(out, is_lines ? "}\n" : "}");
    }
    if (!is_lines)
        sq_text_add(out, "\n]\n");
}

sq_status sq_table_render(const sq_table *table, sq_format format, sq_text *out)
{
    if (table->is_failed)
        return SQ_OUT_OF_MEMORY;
    switch (format) {
    case SQ_FORMAT_TABLE: render_aligned(table, out); break;
    case SQ_FORMAT_MD: render_md(table, out); break;
    case SQ_FORMAT_CSV: render_csv(table, out); break;
    case SQ_FORMAT_JSON: render_json(table, false, out); break;
    case SQ_FORMAT_JSONL: render_json(table, true, out); break;
    }
    return out->is_failed ? SQ_OUT_OF_MEMORY : SQ_OK;
}
