/* number: numbers as people write and read them. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/text.h"

static bool is_digit(char c) { return isdigit((unsigned char)c) != 0; }

static const char *skip_digits(const char *at)
{
    while (is_digit(*at))
        at++;
    return at;
}

/* End of the plain decimal number at `text` ([+-] digits [. digits] [e digits]), or `text` itself.
 * strtod alone would take hex, "inf" and "nan", and "4." of "4..8". */
static const char *number_end(const char *text)
{
    const char *at = text + (*text == '+' || *text == '-');
    const char *whole = skip_digits(at);
    const char *end = whole;
    if (*end == '.' && end[1] != '.')
        end = skip_digits(end + 1);
    if (!is_digit(*at) && end - whole < 2)
        return text;
    if (*end == 'e' || *end == 'E') {
        const char *exponent = end + 1 + (end[1] == '+' || end[1] == '-');
        if (is_digit(*exponent))
            end = skip_digits(exponent);
    }
    return end;
}

static double suffix_factor(char c)
{
    switch (tolower((unsigned char)c)) {
    case 'k':
        return 1024.0;
    case 'm':
        return 1024.0 * 1024;
    case 'g':
        return 1024.0 * 1024 * 1024;
    default:
        return 0;
    }
}

bool sq_scan_number(const char *text, double *out, const char **end)
{
    const char *stop = number_end(text);
    *end = text;
    if (stop == text)
        return false;
    double value = strtod(text, NULL);
    double factor = suffix_factor(*stop);
    if (factor > 0) {
        value *= factor;
        stop++;
    }
    if (!isfinite(value))
        return false;
    *out = value;
    *end = stop;
    return true;
}

bool sq_parse_number(const char *text, double *out)
{
    const char *end;
    double value;
    if (!sq_scan_number(text, &value, &end) || *end)
        return false;
    *out = value;
    return true;
}

bool sq_parse_share(const char *text, double *out)
{
    const char *end;
    double value;
    bool is_number = sq_scan_number(text, &value, &end);
    bool is_percent = is_number && strcmp(end, "%") == 0;
    value = is_percent ? value / 100 : value;
    if (!is_number || (*end && !is_percent) || !(value >= 0) || value > 1)
        return false;
    *out = value;
    return true;
}

bool sq_parse_seed(const char *text, uint64_t *out)
{
    const size_t digits = strspn(text, "0123456789");
    errno = 0;
    const uint64_t seed = strtoull(text, NULL, 10);
    const bool is_seed = digits > 0 && !text[digits] && errno == 0;
    if (is_seed)
        *out = seed;
    return is_seed;
}

bool sq_parse_duration(const char *text, double *seconds)
{
    static const struct {
        const char *suffix;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"m", 60}, {"min", 60},
                 {"h", 3600}, {"d", 86400}};
    const char *end = number_end(text);
    double value = end > text ? strtod(text, NULL) : -1;
    if (!(value >= 0) || !isfinite(value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].suffix) == 0) {
            *seconds = value * units[i].seconds;
            return isfinite(*seconds);
        }
    return false;
}

bool sq_parse_day(const char *text, double *begin)
{
    static const char form[] = "dddd-dd-dd";
    struct tm day = {.tm_mday = 0}, same;
    if (strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? !is_digit(text[i]) : text[i] != form[i])
            return false;
    sscanf(text, "%4d-%2d-%2d", &day.tm_year, &day.tm_mon, &day.tm_mday);
    day.tm_year -= 1900;
    day.tm_mon -= 1;
    same = day;
    *begin = (double)timegm(&same); /* takes February 30th for March 1st */
    return same.tm_mday == day.tm_mday && same.tm_mon == day.tm_mon;
}

void sq_format_utc(double seconds, char *out, size_t size)
{
    const double far = 1e11; /* some 3000 years, which gmtime takes */
    struct tm utc;
    out[0] = 0;
    if (!(fabs(seconds) < far))
        return;
    time_t whole = (time_t)seconds;
    strftime(out, size, "%Y-%m-%d %H:%M", gmtime_r(&whole, &utc));
}

/* Three digits and a unit; each unit is 1000 of the one before. A whole number has no point. */
static void format_scaled(double value, const char *const *units, char *out, size_t size)
{
    if (isnan(value)) {
        snprintf(out, size, "-");
        return;
    }
    int unit = 0;
    for (; fabs(value) >= 999.5 && units[unit + 1]; unit++) /* 999.6 would be shown as 1000 */
        value /= 1000;
    double magnitude = fabs(value);
    int digits = magnitude >= 99.95 || value == floor(value) ? 0 : magnitude >= 9.995 ? 1 : 2;
    snprintf(out, size, "%.*f %s", digits, value, units[unit]);
}

void sq_format_ns(double ns, char *out, size_t size)
{
    static const char *const units[] = {"ns", "us", "ms", "s", NULL};
    format_scaled(ns, units, out, size);
}

void sq_format_bytes(double bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", NULL};
    format_scaled(bytes, units, out, size);
}
