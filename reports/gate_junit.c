/* gate_junit: a gate as JUnit XML, in the elements that CI systems read: what ends a night badly is a
 * failure, what could not be told is skipped. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "reports/gated.h"

typedef enum { CASE_PASSED, CASE_FAILED, CASE_ERROR, CASE_SKIPPED } case_state;

static case_state state_of(const sq_gate_row *row)
{
    sq_night_verdict verdict = row->result.verdict;
    sq_standing standing = sq_gate_standing(row);
    if (row->is_answered)
        return CASE_SKIPPED;
    if (verdict == SQ_NIGHT_MISMATCH || standing == SQ_STANDING_CONFIRMED)
        return CASE_FAILED;
    if (sq_gate_is_failed(row))
        return CASE_ERROR;
    bool is_open = standing == SQ_STANDING_PENDING || standing == SQ_STANDING_UNRESOLVED;
    bool is_untold = verdict == SQ_NIGHT_NOT_COMPARED || verdict == SQ_NIGHT_INCONCLUSIVE ||
                     verdict == SQ_NIGHT_FAILED_BEFORE || verdict == SQ_NIGHT_FAILED_NEW;
    return is_open || is_untold ? CASE_SKIPPED : CASE_PASSED;
}

static int count(const sq_judging *gate, case_state state)
{
    int n = 0;
    for (int i = 0; i < gate->n_rows; i++)
        n += state_of(&gate->row[i]) == state;
    return n;
}

static void add_attribute(sq_text *out, const char *name, const char *value)
{
    sq_text_printf(out, " %s=\"", name);
    sq_text_add_html(out, value);
    sq_text_add(out, "\"");
}

/* "attention.cuda/portable.fwd.bf16" of the cell's key. */
static void add_class(const char *key, sq_text *out)
{
    sq_text name = {.data = NULL};
    const char *axes = strchr(key, '=');
    const char *end = axes ? axes : key + strlen(key);
    while (end > key && *end != '/')
        end--;
    for (const char *at = key; at < end; at++)
        sq_text_add_n(&name, *at == '@' ? "." : at, 1);
    add_attribute(out, "classname", name.data ? name.data : key);
    sq_text_free(&name);
}

static void add_message(const sq_gate_row *row, const char *element, sq_text *out)
{
    const sq_night_test *time = &row->result.test[SQ_NIGHT_TIME];
    const char *verdict = sq_night_verdict_name(row->result.verdict);
    sq_text message = {.data = NULL};
    sq_gate_describe(row, &message);
    if (row->cause[0])
        sq_text_printf(&message, "%s%s", message.length ? "; " : "", row->cause);
    sq_text_printf(out, "<%s", element);
    add_attribute(out, "message", message.length ? message.data : verdict);
    if (strcmp(element, "skipped") != 0)
        add_attribute(out, "type", verdict);
    sq_text_add(out, ">");
    sq_text_printf(out, "%s %s; ", verdict, sq_standing_name(sq_gate_standing(row)));
    if (!isnan(time->change.estimate))
        sq_text_printf(out, "time %+.2f %% (%+.2f to %+.2f), q %.2g",
                       100 * expm1(time->change.estimate), 100 * expm1(time->change.lo),
                       100 * expm1(time->change.hi), time->q);
    sq_text_printf(out, "</%s>", element);
    sq_text_free(&message);
}

static double seconds_of(const sq_gate_row *row)
{
    double ns = 0;
    for (int i = 0; row->night && i < row->night->n_timed; i++)
        ns += row->night->ns[i] / row->night->n_timed;
    return 1e-9 * ns;
}

static void add_case(const sq_gate_row *row, sq_text *out)
{
    static const char *const elements[] = {NULL, "failure", "error", "skipped"};
    case_state state = state_of(row);
    sq_text_add(out, "<testcase");
    add_class(sq_gate_key(row), out);
    add_attribute(out, "name", sq_gate_key(row));
    sq_text_printf(out, " time=\"%.9f\">", seconds_of(row));
    if (elements[state])
        add_message(row, elements[state], out);
    sq_text_add(out, "</testcase>\n");
}

static void add_property(sq_text *out, const char *name, const char *value)
{
    sq_text_add(out, "<property");
    add_attribute(out, "name", name);
    add_attribute(out, "value", value);
    sq_text_add(out, "/>\n");
}

void sq_gate_junit(const sq_judging *gate, sq_text *out)
{
    sq_gate_end end = sq_gate_conclude(gate);
    char code[16];
    snprintf(code, sizeof code, "%d", end.code);
    sq_text_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite");
    add_attribute(out, "name", gate->night.suite[0] ? gate->night.suite : "seqmark");
    sq_text_printf(out, " tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\">\n",
                   gate->n_rows, count(gate, CASE_FAILED), count(gate, CASE_ERROR),
                   count(gate, CASE_SKIPPED));
    sq_text_add(out, "<properties>\n");
    add_property(out, "exit_code", code);
    add_property(out, "why", end.why);
    add_property(out, "night", gate->options.night);
    add_property(out, "baseline", gate->options.baseline);
    add_property(out, "baseline_name", sq_gate_baseline_name(gate));
    sq_text_add(out, "</properties>\n");
    for (int i = 0; i < gate->n_rows; i++)
        add_case(&gate->row[i], out);
    sq_text_add(out, "</testsuite>\n</testsuites>\n");
}
