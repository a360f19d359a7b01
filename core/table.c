#include "core/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 48 };

typedef struct {
    char *text; /* owned; NULL in a number */
    double number;
    int digits;
} field;

struct sq_table {
    char **columns;
    int n_columns;
    field *fields; /* row after row */
    size_t n_fields, capacity;
    bool is_failed; /* out of memory, reported by sq_table_render */
};

sq_status sq_format_parse(const char *name, sq_format *out, sq_error *err)
{
    static const char *const names[] = {"table", "md", "csv", "json", "jsonl", NULL};
    int index = 0;
    SQ_TRY(sq_find_name("output format", name, names, &index, err));
    *out = (sq_format)index;
    return SQ_OK;
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void sq_table_free(sq_table *table)
{
    if (!table)
        return;
    for (int i = 0; i < table->n_columns; i++)
        free(table->columns[i]);
    for (size_t i = 0; i < table->n_fields; i++)
        free(table->fields[i].text);
    free(table->columns);
    free(table->fields);
    free(table);
}

sq_table *sq_table_new(const char *const *columns)
{
    int n = 0;
    while (columns[n])
        n++;
    sq_table *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->columns = calloc((size_t)n + 1, sizeof *table->columns);
    if (!table->columns)
        goto fail;
    for (table->n_columns = 0; table->n_columns < n; table->n_columns++) {
        char *name = copy_text(columns[table->n_columns]);
        if (!name)
            goto fail;
        table->columns[table->n_columns] = name;
    }
    return table;
fail:
    sq_table_free(table);
    return NULL;
}

static void add_field(sq_table *table, field f)
{
    if (table->n_fields == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        field *fields = realloc(table->fields, capacity * sizeof *fields);
        if (!fields) {
            table->is_failed = true;
            free(f.text);
            return;
        }
        table->fields = fields;
        table->capacity = capacity;
    }
    table->fields[table->n_fields++] = f;
}

void sq_table_text(sq_table *table, const char *text)
{
    char *copy = copy_text(text);
    if (copy)
        add_field(table, (field){.text = copy});
    else
        table->is_failed = true;
}

void sq_table_number(sq_table *table, double value, int digits)
{
    add_field(table, (field){.number = value, .digits = digits});
}

int sq_table_rows(const sq_table *table)
{
    size_t columns = (size_t)table->n_columns;
    return columns ? (int)((table->n_fields + columns - 1) / columns) : 0;
}

/* A row that was begun and not filled ends in empty fields. */
static field field_at(const sq_table *table, int row, int column)
{
    size_t i = (size_t)row * (size_t)table->n_columns + (size_t)column;
    return i < table->n_fields ? table->fields[i] : (field){.number = NAN};
}

/* --- numbers --- */

/* Shortest text that reads back as the same double. */
static void format_full(double value, char out[NUMBER_MAX])
{
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(out, NUMBER_MAX, "%.0f", value + 0.0);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, NUMBER_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

/* `digits` significant digits for the eye; whole numbers and those above 1 have no exponent, and
 * digits before the point are never rounded away. */
static void format_short(double value, int digits, char out[NUMBER_MAX])
{
    double magnitude = fabs(value);
    if (value == floor(value) && magnitude < 1e15) {
        snprintf(out, NUMBER_MAX, "%.0f", value + 0.0);
    } else if (magnitude >= 1 && magnitude < 1e15) {
        int before = (int)floor(log10(magnitude)) + 1;
        snprintf(out, NUMBER_MAX, "%.*f", digits > before ? digits - before : 0, value);
    } else {
        snprintf(out, NUMBER_MAX, "%.*g", digits > 0 ? digits : 1, value);
    }
}

/* --- table and md --- */

/* Appends a field as the eye reads it; nothing for NaN. */
static void add_shown(sq_text *out, field f, bool is_md)
{
    char number[NUMBER_MAX];
    if (f.text) {
        if (is_md)
            sq_text_add_md(out, f.text);
        else
            sq_text_add_plain(out, f.text);
    } else if (!isnan(f.number)) {
        format_short(f.number, f.digits, number);
        sq_text_add(out, number);
    }
}

static void pad(sq_text *out, int n)
{
    for (; n > 0; n--)
        sq_text_add_n(out, " ", 1);
}

/* A column of numbers (empty fields aside) is aligned right. */
static bool is_numeric(const sq_table *table, int column)
{
    bool has_number = false;
    for (int row = 0; row < sq_table_rows(table); row++) {
        field f = field_at(table, row, column);
        if (f.text && *f.text)
            return false;
        has_number |= !f.text && !isnan(f.number);
    }
    return has_number;
}

/* Field of a row; row -1 is the header. */
static field field_or_header(const sq_table *table, int row, int column)
{
    return row < 0 ? (field){.text = table->columns[column]} : field_at(table, row, column);
}

/* The shown text of a field in `cell`, which is scratch; its width. */
static int show(const sq_table *table, int row, int column, sq_text *cell)
{
    cell->length = 0;
    sq_text_add(cell, "");
    add_shown(cell, field_or_header(table, row, column), false);
    return cell->is_failed ? 0 : sq_text_width(cell->data);
}

typedef struct {
    int width;
    bool is_right;
} column_layout;

static column_layout lay_out(const sq_table *table, int column, sq_text *cell)
{
    column_layout layout = {.is_right = is_numeric(table, column)};
    for (int row = -1; row < sq_table_rows(table); row++) {
        int width = show(table, row, column, cell);
        layout.width = width > layout.width ? width : layout.width;
    }
    return layout;
}

static void add_aligned_row(const sq_table *table, int row, const column_layout *layout,
                            sq_text *cell, sq_text *out)
{
    for (int c = 0; c < table->n_columns; c++) {
        bool is_last = c == table->n_columns - 1;
        int blanks = layout[c].width - show(table, row, c, cell);
        if (cell->is_failed)
            return;
        pad(out, layout[c].is_right ? blanks : 0);
        sq_text_add_n(out, cell->data, cell->length);
        pad(out, layout[c].is_right || is_last ? 0 : blanks);
        sq_text_add(out, is_last ? "\n" : "  ");
    }
}

static sq_status render_aligned(const sq_table *table, sq_text *out)
{
    sq_text cell = {0};
    column_layout *layout = calloc((size_t)table->n_columns + 1, sizeof *layout);
    if (!layout)
        return SQ_OUT_OF_MEMORY;
    for (int c = 0; c < table->n_columns; c++)
        layout[c] = lay_out(table, c, &cell);
    for (int row = -1; row < sq_table_rows(table); row++)
        add_aligned_row(table, row, layout, &cell, out);
    bool is_failed = cell.is_failed;
    sq_text_free(&cell);
    free(layout);
    return is_failed ? SQ_OUT_OF_MEMORY : SQ_OK;
}

static void add_md_row(const sq_table *table, int row, sq_text *out)
{
    for (int c = 0; c < table->n_columns; c++) {
        sq_text_add(out, "| ");
        add_shown(out, field_or_header(table, row, c), true);
        sq_text_add(out, " ");
    }
    sq_text_add(out, "|\n");
}

static void render_md(const sq_table *table, sq_text *out)
{
    add_md_row(table, -1, out);
    for (int c = 0; c < table->n_columns; c++)
        sq_text_add(out, is_numeric(table, c) ? "|---:" : "|---");
    sq_text_add(out, "|\n");
    for (int row = 0; row < sq_table_rows(table); row++)
        add_md_row(table, row, out);
}

/* --- csv, json, jsonl --- */

/* RFC 4180: lines end in CR LF. */
static void render_csv(const sq_table *table, sq_text *out)
{
    char number[NUMBER_MAX];
    for (int row = -1; row < sq_table_rows(table); row++) {
        for (int c = 0; c < table->n_columns; c++) {
            field f = field_or_header(table, row, c);
            sq_text_add(out, c ? "," : "");
            if (f.text) {
                sq_text_add_csv(out, f.text);
            } else if (!isnan(f.number)) {
                format_full(f.number, number);
                sq_text_add(out, number);
            }
        }
        sq_text_add(out, "\r\n");
    }
}

/* JSON has no infinity: it is null too. */
static void add_json_value(sq_text *out, field f)
{
    char number[NUMBER_MAX];
    if (f.text) {
        sq_text_add(out, "\"");
        sq_text_add_json(out, f.text);
        sq_text_add(out, "\"");
    } else if (isfinite(f.number)) {
        format_full(f.number, number);
        sq_text_add(out, number);
    } else {
        sq_text_add(out, "null");
    }
}

static void add_json_row(const sq_table *table, int row, sq_text *out)
{
    for (int c = 0; c < table->n_columns; c++) {
        sq_text_add(out, c ? ", \"" : "{\"");
        sq_text_add_json(out, table->columns[c]);
        sq_text_add(out, "\": ");
        add_json_value(out, field_at(table, row, c));
    }
    sq_text_add(out, "}");
}

static void render_json(const sq_table *table, sq_text *out)
{
    sq_text_add(out, "[");
    for (int row = 0; row < sq_table_rows(table); row++) {
        sq_text_add(out, row ? ",\n " : "\n ");
        add_json_row(table, row, out);
    }
    sq_text_add(out, "\n]\n");
}

static void render_jsonl(const sq_table *table, sq_text *out)
{
    for (int row = 0; row < sq_table_rows(table); row++) {
        add_json_row(table, row, out);
        sq_text_add(out, "\n");
    }
}

sq_status sq_table_render(const sq_table *table, sq_format format, sq_text *out)
{
    if (table->is_failed)
        return SQ_OUT_OF_MEMORY;
    sq_text_add(out, ""); /* no rows as JSON lines are an empty text, not NULL */
    switch (format) {
    case SQ_FORMAT_CSV:
        render_csv(table, out);
        break;
    case SQ_FORMAT_JSON:
        render_json(table, out);
        break;
    case SQ_FORMAT_JSONL:
        render_jsonl(table, out);
        break;
    case SQ_FORMAT_MD:
        render_md(table, out);
        break;
    default:
        SQ_TRY(render_aligned(table, out));
    }
    return out->is_failed ? SQ_OUT_OF_MEMORY : SQ_OK;
}
