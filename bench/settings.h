/* settings: what a campaign and its groups of cells are told, and where each of it was said.
 *
 * A setting is text until it is used, so the command line and a suite file are read by one parser
 * and its errors name the place. Keys are the long options; an underscore reads as a hyphen. Every
 * axis of every subject is a key too, by its name or its flag.
 */
#ifndef SQ_BENCH_SETTINGS_H
#define SQ_BENCH_SETTINGS_H

#include <stdbool.h>

#include "bench/options.h"
#include "bench/policy.h"
#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* origin: "command line", "default" or "FILE:LINE:COLUMN". All three are owned. */
typedef struct {
    char *key, *value, *origin;
} sq_setting;

/* Zero-initialise. */
typedef struct {
    sq_setting *item;
    int count;
} sq_settings;

typedef enum { SQ_SCOPE_GROUP, SQ_SCOPE_CAMPAIGN } sq_scope;

typedef struct {
    sq_option option;
    sq_scope scope;
} sq_setting_def;

/* Ended by a NULL option.name; axes are not listed. */
extern const sq_setting_def sq_setting_defs[];

/* The definition of a key, or NULL (also for axes). */
const sq_setting_def *sq_setting_find(const char *key);
/* A key of suite files that is no option of the verbs that plan. */
bool sq_setting_is_of_files(const char *key);
bool sq_setting_is_axis(const char *key);
/* The name or flag of an axis that is most like `name`, or NULL. */
const char *sq_setting_nearest_axis(const char *name);
/* Fails with the nearest of all keys that `scope` allows. */
sq_status sq_setting_unknown(sq_scope scope, const char *key, const char *origin, sq_error *err);

void sq_settings_free(sq_settings *settings);
/* Adds at the end; what the key held before is dropped, so later settings stand later. */
sq_status sq_settings_set(sq_settings *settings, const char *key, const char *value,
                          const char *origin, sq_error *err);
/* Copies every setting of `from` into `into`, replacing. */
sq_status sq_settings_merge(sq_settings *into, const sq_settings *from, sq_error *err);
const sq_setting *sq_settings_get(const sq_settings *settings, const char *key);
const char *sq_settings_text(const sq_settings *settings, const char *key, const char *fallback);
/* Passes `status` on; an error says first where the setting was made. `setting` may be NULL. */
sq_status sq_setting_at(const sq_setting *setting, sq_status status, sq_error *err);
/* A number, whole number in [least, most], duration or switch of a campaign; `*out` is left alone
 * where the key is absent. */
sq_status sq_settings_number(const sq_settings *settings, const char *key, double *out,
                             sq_error *err);
sq_status sq_settings_count(const sq_settings *settings, const char *key, int least, int most,
                            int *out, sq_error *err);
sq_status sq_settings_seconds(const sq_settings *settings, const char *key, double *out,
                              sq_error *err);
sq_status sq_settings_switch(const sq_settings *settings, const char *key, bool *out,
                             sq_error *err);
/* The same of a share of 0 to 1, "2%" or "0.02". */
sq_status sq_settings_share(const sq_settings *settings, const char *key, double *out,
                            sq_error *err);
/* The built-in policy that "policy" names, changed by the settings that name its fields. */
sq_status sq_settings_policy(const sq_settings *settings, sq_policy *out, sq_error *err);

/* Comma-separated names; "@file" reads them from a file, '#' starts a comment there. Free with
 * sq_names_free. */
typedef struct {
    char **item;
    int count;
} sq_names;
sq_status sq_names_split(const char *text, sq_names *out, sq_error *err);
bool sq_names_has(const sq_names *names, const char *name);
void sq_names_free(sq_names *names);
/* The text of a list setting with "@file" replaced by what the file holds; free() it. */
sq_status sq_setting_expand(const char *value, char **out, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
